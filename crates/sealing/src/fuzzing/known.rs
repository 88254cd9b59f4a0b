//! Requests that other implementations made, to the private key 01..20 of each KEM: byte for byte the same for ever.

use std::sync::LazyLock;

use crate::{Kem, PrivateKey};

/// A request of one frame that opens.
#[derive(Debug)]
pub struct KnownRequest {
    pub private_key: PrivateKey,
    pub encapsulated_key: Vec<u8>,
    /// Its first frame, without length prefix.
    pub ciphertext: Vec<u8>,
    pub plaintext: &'static [u8],
}

impl KnownRequest {
    pub fn of(kem: Kem) -> &'static Self {
        static X25519: LazyLock<KnownRequest> = LazyLock::new(|| {
            KnownRequest::read(Kem::X25519, X25519_ENCAPSULATED_KEY, X25519_FRAME, br#"{"model":"m","#)
        });
        static X_WING: LazyLock<KnownRequest> = LazyLock::new(|| {
            KnownRequest::read(Kem::XWing, X_WING_ENCAPSULATED_KEY, X_WING_FRAME, br#"{"model":"m"}"#)
        });
        match kem {
            Kem::X25519 => &X25519,
            Kem::XWing => &X_WING,
        }
    }

    fn read(kem: Kem, encapsulated_key: &str, ciphertext: &str, plaintext: &'static [u8]) -> Self {
        let counting: [u8; 32] = std::array::from_fn(|index| index as u8 + 1);
        let Ok(private_key) = PrivateKey::from_bytes(kem, &counting) else { panic!("not a private key") };
        Self {
            private_key,
            encapsulated_key: bytes(encapsulated_key),
            ciphertext: bytes(ciphertext),
            plaintext,
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let Ok(bytes) = hex::decode(hex) else { panic!("not hex") };
    bytes
}

/// Made with pyhpke 0.6.5; its ephemeral private key is 41..60.
const X25519_ENCAPSULATED_KEY: &str = "64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466";
const X25519_FRAME: &str = "46e7bc6e720f8ddf58902a44409f09915b744698465c344d53e6f5b154";

/// Made with cryptography 50.0.2 for Python, whose X-Wing is not this one's.
const X_WING_FRAME: &str = "29f59b0f6923a9e4e7fbd194af6675814ab02b9b6fa7c41d9ef766a36c";
const X_WING_ENCAPSULATED_KEY: &str = concat!(
    "79316e0b8a98195fcd50022e02e59c1ad17687ca1e5c9f45ad3796aeb8ddbe69a3c9d26ce65de5cf20958e07cd39c6c1e81b",
    "308872d4ba8c726559445034a965389c3d7f3b9245cb36ab3e9357aa1f1b6212b8a6a2f108f9d7c95ba42d7af180ebcd32d4",
    "d9e87a95e2dafb78752928b77ba4a34ec6d61c9bfd10f86a02f09d475d21590e8ec77403f3988594fb521eaeb9db0913fbe1",
    "71dd4c2756cb175a36c70864285cd161e71dd6b1f9025a37c4fbdfda6b6354a34d991d11da82df08eeabca159a7b1833e53a",
    "4e9f9b5f7b86f5ad43eea4283565fb379ce53c44c1b0e1fd8dbce6c1230e7d5c6ab383ebb3f2b009dce1e07846b12309296c",
    "7f72bc53f2b43ea3f3b112274635c60690b8bca472b57308dd4e160fe70865c54c316dee9dfc31817851c1887c790a61de78",
    "1b49fe1c9eecfcb805093c7778beb0ff174ae7a33af9889c85626ef982a5162d3cd742172f839137d422bb03ff242f7a77a6",
    "1b080b5db67ec1e25e728f5656a9ecb81617bfadd09537c0be7d3f7d15653a6aefab6399751bc0e85473062b746bbf5c978a",
    "630de8c110cf0b2c160f75afc2186d047678da48d919243afde2ded9c81a1e0ccadb3cf15188da97119293430970c5fab15a",
    "e238ca29959adda7e5a672874b54c0473c4dce0ca56556e61a9e6e9d56ce8c43e9d9e39db60370bd3b8901bc1f31fc23138f",
    "9b7ed5943c45bd3a386c594f5cca1181015334ee6e14c45332ba3e621b658bf61b6abd5c50c0094c759139d9f7eaa6de3404",
    "e13079a780c3db0b81f4a429c23fd4475502a42bab9e424c3cb50065a2d198fd1a49c7270c71bb6dc434d39363fc0ee04228",
    "5e605886218df642ae0541132390067764dd9704b0496bb816a99243a4b9d557627259dff27fa149176c2bae168df0a2edbb",
    "1f234f5d751cf3b3624e065db1d7c8e07aee05ade434b1faaf73aae28d71e5c139f18b334239487320afe084091584fd7428",
    "09f795a9d06022aed7e6b087c5e35dca74bb03ddf3ef5f674e6565f50090122fc1f30e84df974db4363eb26aedd0a927c6ab",
    "743074c7a81d1316def141d17416c63932dec19c6194fbb875b8155dc69492f1e2df887261dcd62f8aee373c6aa8a1511451",
    "93cb4f9357618474da9e55b61dce3bc4a6a6c5588d9f7f85a46301763e50dfd2c8be8f26fb4ffc3d8275939f1c27e5637b79",
    "cb67c49f4c2e1ada16f5cea59dc4d9a1bda4d171562cb8a0799b1a89a78c36a0970141cf38da53ef67f0f34a9c67a2d0a219",
    "8180683a0cb4d341ca375e4c66885aea66f3eab8720824b077b8fce3854d957576d535e72c12ebea95f1f777d2b37a404096",
    "80f7a3d525b6283522713bd83f96aea81c321ac50f2c46a69af03b1b9de620f2efeb0c73b98737f81327d1c64080386ddd15",
    "0691f9e10d3c98036b63905a0feb7736dda84f0f92ed97623162b84f81c6e9b937a8b2c08620efd0656b0190292d1ed24186",
    "592912a9cbac9955d3c054a49785e35b525fc33df27325123dd0dbb27b6620f2ae77db78eaa27cffbea8522a917a4af558c5",
    "cf60e16a274859de713b156c363c1369f88d7c47",
);
