//! Text in a PNG, chunk by chunk.

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// The first chunk has always this length: its length, its type, its 13 bytes and its sum.
const HEADER_BYTES: usize = 4 + 4 + 13 + 4;

/// The picture with a text behind its header.
pub fn with_text(picture: &[u8], keyword: &str, text: &str) -> Vec<u8> {
    assert!(picture.starts_with(SIGNATURE), "it is no PNG");
    let (begin, rest) = picture.split_at(SIGNATURE.len() + HEADER_BYTES);
    let mut covered = b"tEXt".to_vec();
    covered.extend_from_slice(keyword.as_bytes());
    covered.push(0);
    covered.extend_from_slice(text.as_bytes());
    let length = u32::try_from(covered.len() - 4).expect("short");
    let mut whole = begin.to_vec();
    whole.extend_from_slice(&length.to_be_bytes());
    whole.extend_from_slice(&covered);
    whole.extend_from_slice(&crc(&covered).to_be_bytes());
    whole.extend_from_slice(rest);
    whole
}

/// The text with this keyword.
pub fn text(picture: &[u8], keyword: &str) -> Option<String> {
    let mut rest = picture.strip_prefix(SIGNATURE)?;
    loop {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (kind, after) = after.split_first_chunk::<4>()?;
        let (content, after) = after.split_at_checked(length)?;
        let text = content.strip_prefix(keyword.as_bytes());
        match text.and_then(|text| text.strip_prefix(b"\0")) {
            Some(text) if kind == b"tEXt" => return String::from_utf8(text.to_vec()).ok(),
            _ => rest = after.get(4..)?,
        }
    }
}

/// The sum over a chunk's type and content (the recommendation's section 5.5).
fn crc(bytes: &[u8]) -> u32 {
    let sum = bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            let carried = sum & 1 == 1;
            (sum >> 1) ^ if carried { 0xedb8_8320 } else { 0 }
        })
    });
    !sum
}

#[test]
fn a_text_is_found_again_and_the_sum_is_that_of_the_recommendation() {
    // The last chunk of every PNG has nothing but its type.
    assert_eq!(crc(b"IEND"), 0xae42_6082);
    let header = [b"\0\0\0\x0dIHDR".as_slice(), &[0; 13], &[0; 4]].concat();
    let end = b"\0\0\0\0IEND\xae\x42\x60\x82";
    let picture = [SIGNATURE, &header, end].concat();
    let with = with_text(&picture, "page", "its sum");
    assert_eq!(text(&with, "page").as_deref(), Some("its sum"));
    assert_eq!(text(&with, "pag"), None);
    assert_eq!(text(&picture, "page"), None);
}
