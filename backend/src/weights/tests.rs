use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::time::{Duration, SystemTime};

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn measuring(&self, path: &Path) -> Measuring {
        Measuring { path: path.to_owned(), expected: None, in_tee: false, cache: self.0.path().to_owned() }
    }

    fn digest(&self, path: &Path) -> Digest {
        measure(&self.measuring(path)).unwrap()
    }
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(&[bytes])
}

/// As if it had been written long ago.
fn age(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
}

#[test]
fn a_file_has_the_digest_of_its_bytes() {
    let dir = Folder::new();
    let file = dir.write("model/m.gguf", b"abc");
    assert_eq!(dir.digest(&file), sha256(b"abc"));
}

#[test]
fn a_file_of_many_pieces_has_the_digest_of_its_bytes() {
    let dir = Folder::new();
    // Not a multiple of a piece, and every piece another.
    let bytes: Vec<u8> = (0..(18_u32 << 20) / 4 + 1).flat_map(u32::to_le_bytes).collect();
    let file = dir.write("model/m.gguf", &bytes);
    assert_eq!(dir.digest(&file), sha256(&bytes));
}

#[test]
fn what_the_engine_reads_beside_a_file_is_part_of_the_model() {
    let dir = Folder::new();
    let file = dir.write("model/m.gguf", b"abc");
    dir.write("model/README.md", b"not read by the engine");
    assert_eq!(dir.digest(&file), sha256(b"abc"));
    dir.write("model/generation_config.json", b"{}");
    let parts: [&[u8]; 4] = [b"generation_config.json\0", &sha256(b"{}").0, b"m.gguf\0", &sha256(b"abc").0];
    assert_eq!(dir.digest(&file), Digest::of(&parts));
}

#[test]
fn a_folder_has_another_digest_once_a_byte_or_a_name_in_it_changes() {
    let dir = Folder::new();
    let model = dir.path("model");
    dir.write("model/sub/b", b"2");
    dir.write("model/a", b"1");
    let first = dir.digest(&model);
    let parts: [&[u8]; 4] = [b"a\0", &sha256(b"1").0, b"sub/b\0", &sha256(b"2").0];
    assert_eq!(first, Digest::of(&parts));
    dir.write("model/a", b"3");
    let changed = dir.digest(&model);
    assert_ne!(changed, first);
    fs::rename(dir.path("model/a"), dir.path("model/c")).unwrap();
    assert_ne!(dir.digest(&model), changed);
}

#[test]
fn a_model_that_is_another_is_refused_with_both_digests() {
    let dir = Folder::new();
    let file = dir.write("model/m", b"abc");
    let expecting = |digest| Measuring { expected: Some(digest), ..dir.measuring(&file) };
    assert_eq!(measure(&expecting(sha256(b"abc"))).unwrap(), sha256(b"abc"));
    let error = measure(&expecting(Digest([7; 32]))).unwrap_err().to_string();
    assert!(error.contains(&"07".repeat(32)) && error.contains(&sha256(b"abc").to_string()), "{error}");
}

#[test]
fn a_missing_or_empty_model_is_an_error() {
    let dir = Folder::new();
    assert!(matches!(measure(&dir.measuring(Path::new("/no/such/model"))), Err(WeightsError::Read { .. })));
    fs::create_dir(dir.path("empty")).unwrap();
    assert!(matches!(measure(&dir.measuring(&dir.path("empty"))), Err(WeightsError::Empty(_))));
    symlink(dir.path("nowhere"), dir.path("empty/m")).unwrap();
    assert!(matches!(measure(&dir.measuring(&dir.path("empty"))), Err(WeightsError::Read { .. })));
}

#[test]
fn a_path_is_given_to_the_engine_so_that_it_is_no_name_on_a_hub() {
    let here = std::env::current_dir().unwrap().canonicalize().unwrap();
    assert_eq!(place(Path::new("src/lib.rs"), None).unwrap(), here.join("src/lib.rs"));
    assert_eq!(place(Path::new("src"), None).unwrap(), here.join("src"));
    assert_eq!(place(Path::new("Cargo.toml"), None).unwrap(), here.join("Cargo.toml"));
    assert!(matches!(place(Path::new("owner/name"), None), Err(WeightsError::Read { .. })));

    // A link to a folder is followed, one to a file is not: a blob has no name to go by.
    let dir = Folder::new();
    let file = dir.write("blobs/0123", b"abc");
    fs::create_dir(dir.path("model")).unwrap();
    symlink(&file, dir.path("model/m.gguf")).unwrap();
    symlink(dir.path("model"), dir.path("link")).unwrap();
    let real = dir.0.path().canonicalize().unwrap();
    assert_eq!(place(&dir.path("link/m.gguf"), None).unwrap(), real.join("model/m.gguf"));
    assert_eq!(place(&dir.path("link"), None).unwrap(), real.join("model"));
}

/// Lies in the cache, to see who believes them.
fn cache_lies(dir: &Folder) {
    let path = dir.path("weights.json");
    let mut kept: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (_, line) in kept["files"].as_object_mut().unwrap() {
        line["sha256"] = "00".repeat(32).into();
    }
    fs::write(&path, kept.to_string()).unwrap();
}

#[test]
fn a_file_that_looks_as_before_is_not_read_again_and_one_that_does_not_is() {
    let dir = Folder::new();
    let file = dir.write("model/m", b"abc");
    age(&file);
    assert_eq!(dir.digest(&file), sha256(b"abc"));
    cache_lies(&dir);
    assert_eq!(dir.digest(&file), Digest([0; 32]), "the cache is asked");
    fs::File::options().write(true).open(&file).unwrap().set_modified(SystemTime::now()).unwrap();
    assert_eq!(dir.digest(&file), sha256(b"abc"), "another time");
    age(&file);
    dir.digest(&file);
    cache_lies(&dir);
    // The same name, size and time, but another file.
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    let other = dir.write("other", b"xyz");
    fs::File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
    fs::rename(&other, &file).unwrap();
    assert_eq!(dir.digest(&file), sha256(b"xyz"), "another inode");
}

#[test]
fn a_file_that_was_just_changed_is_not_kept() {
    let dir = Folder::new();
    let file = dir.write("model/m", b"abc");
    let handle = fs::File::options().write(true).open(&file).unwrap();
    handle.set_modified(SystemTime::now() - Duration::from_secs(1)).unwrap();
    dir.digest(&file);
    let kept: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.path("weights.json")).unwrap()).unwrap();
    assert_eq!(kept, serde_json::json!({ "version": 1, "files": {} }));
}

#[test]
fn a_cache_that_does_not_read_is_made_anew() {
    let dir = Folder::new();
    let file = dir.write("model/m", b"abc");
    age(&file);
    for broken in ["", "{", r#"{"version":2,"files":{}}"#, r#"{"version":1,"files":{},"x":1}"#] {
        fs::write(dir.path("weights.json"), broken).unwrap();
        assert_eq!(dir.digest(&file), sha256(b"abc"));
        cache_lies(&dir);
        assert_eq!(dir.digest(&file), Digest([0; 32]), "there is a whole one again after {broken:?}");
    }
}

/// A machine whose /sys and /proc say what a test wants, about the device that a path is on.
struct Machine(Folder);

impl Machine {
    const NO_SWAP: &str = "Filename Type Size Used Priority\n";

    fn of(model: &Path, uuid: Option<&str>, options: &str, swaps: &str) -> Self {
        let folder = Folder::new();
        let device = fs::metadata(model).unwrap().dev();
        let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        if let Some(uuid) = uuid {
            folder.write(&format!("sys/dev/block/{device}/dm/uuid"), uuid.as_bytes());
        }
        let mounts = format!(
            "21 1 0:20 / /proc rw shared:1 - proc proc rw\n\
             36 25 {device} / /model ro,relatime shared:2 - ext4 /dev/dm-0 {options}\n"
        );
        folder.write("proc/self/mountinfo", mounts.as_bytes());
        folder.write("proc/swaps", swaps.as_bytes());
        Self(folder)
    }

    fn check(&self, file: &Path) -> Result<(), WeightsError> {
        Guest::of_tests(self.0.0.path()).check(file)
    }
}

/// The folder of a build is on a disk, whatever /tmp is on.
fn on_disk() -> Folder {
    Folder(tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap())
}

#[test]
fn in_a_tee_a_model_is_on_a_verity_device_that_is_read_only() {
    let dir = on_disk();
    let file = dir.write("m", b"abc");
    let verity = Some("CRYPT-VERITY-0123-model\n");
    let machine = |uuid, options| Machine::of(&file, uuid, options, Machine::NO_SWAP);
    machine(verity, "ro,errors=continue").check(&file).unwrap();
    for (uuid, options, problem) in [
        (verity, "rw,errors=continue", "not mounted read-only"),
        (Some("LVM-0123\n"), "ro", "without verity"),
        (None, "ro", "the host can change"),
    ] {
        let error = machine(uuid, options).check(&file).unwrap_err().to_string();
        assert!(error.contains(problem) && error.contains("model_copy_dir"), "{error}");
    }
    // This machine is no TEE, and this repository on none of its devices.
    let measured = measure(&Measuring { in_tee: true, ..dir.measuring(&file) });
    assert!(matches!(measured, Err(WeightsError::Unmeasured { .. })), "{measured:?}");
}

#[test]
fn in_a_tee_a_model_in_memory_will_do_unless_memory_is_swapped_out() {
    let dir = Folder(tempfile::tempdir_in("/dev/shm").unwrap());
    let file = dir.write("m", b"abc");
    Machine::of(&file, None, "rw", Machine::NO_SWAP).check(&file).unwrap();
    let swaps = format!("{}/dev/sda2 partition 1 0 -2\n", Machine::NO_SWAP);
    let error = Machine::of(&file, None, "rw", &swaps).check(&file).unwrap_err();
    assert!(matches!(error, WeightsError::Swap(swap) if swap == "/dev/sda2"));
}

#[test]
fn in_a_tee_a_link_is_as_safe_as_all_it_leads_through() {
    let (memory, disk) = (Folder(tempfile::tempdir_in("/dev/shm").unwrap()), on_disk());
    let machine = Machine::of(memory.0.path(), None, "rw", Machine::NO_SWAP);
    let safe = memory.write("blobs/m", b"abc");
    let unsafe_file = disk.write("m", b"abc");
    fs::create_dir(memory.path("model")).unwrap();
    let link = |name: &str, to: &Path| {
        symlink(to, memory.path(name)).unwrap();
        memory.path(name)
    };
    machine.check(&link("model/near", Path::new("../blobs/m"))).unwrap();
    machine.check(&link("model/whole", &safe)).unwrap();
    let far = machine.check(&link("model/far", &unsafe_file)).unwrap_err();
    assert!(matches!(far, WeightsError::Unmeasured { .. }), "what it leads to is on a disk");
    symlink(&safe, disk.path("back")).unwrap();
    let back = machine.check(&link("model/back", &disk.path("back"))).unwrap_err();
    assert!(matches!(back, WeightsError::Unmeasured { .. }), "and so is a link between");
    let from_disk = machine.check(&disk.path("back")).unwrap_err();
    assert!(matches!(from_disk, WeightsError::Unmeasured { .. }), "or the link itself");
    symlink(memory.path("blobs"), memory.path("folder")).unwrap();
    let below = machine.check(&memory.path("folder/m")).unwrap_err();
    assert!(below.to_string().contains("below a folder that is a link"), "{below}");
}

#[test]
fn a_copy_has_all_files_of_the_model_and_nothing_of_an_earlier_one() {
    let (from, to) = (Folder::new(), Folder(tempfile::tempdir_in("/dev/shm").unwrap()));
    let copies = to.0.path();
    from.write("folder/sub/b", b"2");
    symlink(from.write("blob", b"1"), from.path("folder/a")).unwrap();
    let copied = place(&from.path("folder"), Some(copies)).unwrap();
    assert!(copied.starts_with(copies));
    assert_eq!(from.digest(&copied), from.digest(&from.path("folder")));
    assert!(!fs::symlink_metadata(copied.join("a")).unwrap().is_symlink());

    let file = from.write("gguf/m.gguf", b"3");
    from.write("gguf/processor_config.json", b"{}");
    let copied = place(&file, Some(copies)).unwrap();
    assert_eq!(from.digest(&copied), from.digest(&file));
    assert_eq!(fs::read_dir(copied.parent().unwrap()).unwrap().count(), 2, "nothing is left of the other");
    assert!(matches!(place(&file, Some(Path::new("/no/such"))), Err(WeightsError::Copy { .. })));
}

#[test]
fn in_a_tee_a_copy_in_memory_is_measured_and_no_cache_believed() {
    let (from, to) = (Folder::new(), Folder(tempfile::tempdir_in("/dev/shm").unwrap()));
    let file = from.write("m", b"abc");
    let path = place(&file, Some(to.0.path())).unwrap();
    age(&path);
    from.digest(&path);
    cache_lies(&from);
    assert_eq!(from.digest(&path), Digest([0; 32]));
    let swapless = fs::read_to_string("/proc/swaps").unwrap().lines().count() < 2;
    match measure(&Measuring { in_tee: true, ..from.measuring(&path) }) {
        Ok(digest) => assert!(swapless && digest == sha256(b"abc")),
        Err(error) => assert!(!swapless && matches!(error, WeightsError::Swap(_)), "{error}"),
    }
}
