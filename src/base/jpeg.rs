//! Whether a JPEG file is there to its end. Decoders fill what is missing with
//! grey and say nothing; a picture whose lower half is grey must not be learnt.

/// Marks the end of the picture.
const END: u8 = 0xd9;
/// Begins a scan, whose coded pixels follow its header.
const SCAN: u8 = 0xda;

/// Whether the segments of a JPEG lead from one to the next until its end mark.
/// Bytes after that, which some cameras write, do not matter.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let mut at = 2; // behind the mark that begins the picture
    loop {
        // Any number of fill bytes may stand before a marker's code.
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(0xff), Some(0xff)) => at += 1,
            (Some(0xff), Some(&END)) => return true,
            // Markers without a length.
            (Some(0xff), Some(0x01 | 0xd0..=0xd8)) => at += 2,
            (Some(0xff), Some(&code)) => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else {
                    return false;
                };
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
                if code == SCAN {
                    at = behind_scan(bytes, at);
                }
            }
            _ => return false,
        }
    }
}

/// Where the coded pixels that begin at `at` end: at a marker that is neither a
/// stuffed byte nor a restart.
fn behind_scan(bytes: &[u8], mut at: usize) -> usize {
    while let Some(found) = bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(|byte| *byte == 0xff))
    {
        at += found;
        match bytes.get(at + 1) {
            Some(0x00 | 0xd0..=0xd7) => at += 2,
            _ => return at,
        }
    }
    bytes.len()
}
