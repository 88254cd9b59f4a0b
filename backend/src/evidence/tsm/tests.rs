use std::sync::atomic::Ordering;

use super::kernel::{DIR, Kernel};
use super::*;

const OURS: [u8; 64] = [1; 64];
const THEIRS: [u8; 64] = [2; 64];

fn report_on(kernel: &Kernel, data: &[u8; 64]) -> Result<Report, TsmError> {
    let report = report(kernel, Path::new(DIR), data);
    assert!(kernel.entries.lock().unwrap().is_empty(), "the entry is gone, whatever happened");
    report
}

fn quote_of(data: &[u8]) -> Vec<u8> {
    [b"quote of ", data].concat()
}

#[test]
fn a_report_is_on_the_data_and_read_whole() {
    for (name, provider) in [("tdx_guest", Provider::Tdx), ("sev_guest", Provider::SevSnp)] {
        let report = report_on(&Kernel::new(name), &OURS).unwrap();
        assert_eq!(report, Report { provider, quote: quote_of(&OURS), auxiliary: Vec::new() });
    }
}

#[test]
fn the_hosts_certificate_table_comes_along() {
    let kernel = Kernel { auxblob: Some(vec![9; 4000]), ..Kernel::new("sev_guest") };
    assert_eq!(report_on(&kernel, &OURS).unwrap().auxiliary, vec![9; 4000]);
}

/// The key property: whoever else uses the interface, what comes back is never a report on their data.
#[test]
fn what_another_writes_between_any_two_steps_is_never_taken_for_ours() {
    for provider in ["tdx_guest", "sev_guest"] {
        for at in ["inblob", "outblob", "auxblob", "generation"] {
            for reads_too in [false, true] {
                let mut kernel = Kernel::new(provider);
                kernel.watch = Box::new(move |kernel, path| {
                    // Only into the first entry: the second attempt is left alone.
                    if path.ends_with(at) && kernel.made.load(Ordering::Relaxed) == 1 {
                        kernel.foreign_write(&path.with_file_name("inblob"), &THEIRS).unwrap();
                        if reads_too {
                            let blob = path.with_file_name("outblob");
                            drop(kernel.open_unwatched(&blob));
                        }
                    }
                });
                let report = report_on(&kernel, &OURS).unwrap();
                assert_eq!(report.quote, quote_of(&OURS), "{provider}: written before {at}");
            }
        }
    }
}

#[test]
fn an_entry_that_others_always_write_into_gives_an_error_and_no_report() {
    let mut kernel = Kernel::new("tdx_guest");
    kernel.watch = Box::new(|kernel, path| {
        if path.ends_with("outblob") {
            kernel.foreign_write(&path.with_file_name("inblob"), &THEIRS).unwrap();
        }
    });
    assert!(matches!(report_on(&kernel, &OURS), Err(TsmError::Interleaved(ATTEMPTS))));
}

#[test]
fn readers_at_the_same_time_get_each_their_own() {
    let kernel = Kernel::new("sev_guest");
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8_u8)
            .map(|reader| {
                let kernel = &kernel;
                scope.spawn(move || {
                    for round in 0..50 {
                        let data = [reader ^ round; 64];
                        assert_eq!(report(kernel, Path::new(DIR), &data).unwrap().quote, quote_of(&data));
                    }
                })
            })
            .collect();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// configfs takes a binary attribute when its file is closed, and says nothing where it refuses it then.
#[test]
fn a_write_that_the_kernel_dropped_is_noticed() {
    let kernel = Kernel::new("sev_guest");
    // The privilege level: the report would be at another one.
    kernel.lost.store(1, Ordering::Relaxed);
    assert_eq!(report_on(&kernel, &OURS).unwrap().quote, quote_of(&OURS));
    assert_eq!(kernel.made.load(Ordering::Relaxed), 2, "the first was not taken");
    kernel.lost.store(u32::MAX, Ordering::Relaxed);
    assert!(matches!(report_on(&kernel, &OURS), Err(TsmError::Io { attribute: "outblob", .. })));
}

#[test]
fn a_busy_kernel_is_waited_for_but_not_for_ever() {
    let kernel = Kernel::new("tdx_guest");
    kernel.busy.store(3, Ordering::Relaxed);
    assert_eq!(report_on(&kernel, &OURS).unwrap().quote, quote_of(&OURS));
    assert_eq!(kernel.pauses.load(Ordering::Relaxed), 3);
    kernel.busy.store(u32::MAX, Ordering::Relaxed);
    assert!(matches!(report_on(&kernel, &OURS), Err(TsmError::Busy("outblob"))));
}

#[test]
fn a_machine_without_a_tee_is_told_so() {
    let nowhere = report(&StdFs, Path::new("/no/such/folder"), &OURS).unwrap_err();
    assert!(nowhere.to_string().starts_with("there is no TEE here: /no/such/folder"), "{nowhere}");
    let without_provider = report(&Kernel::new(""), Path::new(DIR), &OURS);
    assert!(matches!(without_provider, Err(TsmError::NoTee(_))));
}

#[test]
fn what_is_not_as_documented_is_refused() {
    let unknown = report_on(&Kernel::new("arm_cca_guest"), &OURS).unwrap_err();
    assert!(matches!(unknown, TsmError::Provider(name) if name == "arm_cca_guest"));
    let below = Kernel { floor: "2", ..Kernel::new("sev_guest") };
    assert!(matches!(report_on(&below, &OURS), Err(TsmError::Privilege(floor)) if floor == "2"));
    for (length, fits) in [(MAX_BLOB, true), (MAX_BLOB + 1, false)] {
        let quoting = Box::new(move |_: &[u8]| vec![0; length]);
        let large = Kernel { quoting, piece: 4096, ..Kernel::new("tdx_guest") };
        match report_on(&large, &OURS) {
            Ok(report) => assert!(fits && report.quote.len() == length),
            Err(error) => assert!(!fits && matches!(error, TsmError::TooLarge("outblob", MAX_BLOB))),
        }
    }
    let silent = Kernel { quoting: Box::new(|_| Vec::new()), ..Kernel::new("tdx_guest") };
    assert!(matches!(report_on(&silent, &OURS), Err(TsmError::Empty)));
}

/// The real files, in a folder that is kept as the kernel keeps its own.
struct OnDisk(Kernel);

impl OnDisk {
    const SHOWN: [&str; 3] = ["provider", "generation", "outblob"];

    /// Lays down what the kernel would show now.
    fn show(&self, entry: &Path) {
        for attribute in Self::SHOWN {
            let mut bytes = Vec::new();
            if let Ok(mut shown) = self.0.open_unwatched(&self.within(entry).join(attribute)) {
                shown.read_to_end(&mut bytes).unwrap();
            }
            std::fs::write(entry.join(attribute), bytes).unwrap();
        }
    }

    fn within(&self, path: &Path) -> PathBuf {
        self.0.dir.join(path.file_name().unwrap())
    }
}

impl TsmFs for OnDisk {
    type Reader = std::fs::File;

    fn mkdir(&self, path: &Path) -> io::Result<()> {
        StdFs.mkdir(path)?;
        self.0.mkdir(&self.within(path))?;
        std::fs::write(path.join("inblob"), b"")?;
        self.show(path);
        Ok(())
    }

    fn rmdir(&self, path: &Path) -> io::Result<()> {
        self.0.rmdir(&self.within(path))?;
        for attribute in Self::SHOWN.into_iter().chain(["inblob"]) {
            std::fs::remove_file(path.join(attribute))?;
        }
        StdFs.rmdir(path)
    }

    fn open(&self, path: &Path) -> io::Result<Self::Reader> {
        StdFs.open(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        StdFs.write(path, bytes)?;
        let entry = path.parent().unwrap();
        let written = std::fs::read(path)?;
        self.0.foreign_write(&self.within(entry).join(path.file_name().unwrap()), &written)?;
        self.show(entry);
        Ok(())
    }

    fn pause(&self, time: Duration) {
        self.0.pause(time);
    }
}

#[test]
fn the_real_files_are_made_written_read_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let disk = OnDisk(Kernel::new("tdx_guest"));
    let made = report(&disk, dir.path(), &OURS).unwrap();
    assert_eq!(made.quote, quote_of(&OURS));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(StdFs.write(&dir.path().join("absent"), b"1").is_err(), "it makes no files");
}
