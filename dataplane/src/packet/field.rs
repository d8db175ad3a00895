//! Big-endian fields at an offset, for code off the hot path.

/// The 16-bit field at `at`.
pub(super) fn read16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|field| u16::from_be_bytes(*field))
}

/// The 32-bit field at `at`.
pub(super) fn read32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|field| u32::from_be_bytes(*field))
}

/// Writes bytes at `at`, if all of the field is there.
pub(super) fn write(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(field) = bytes.get_mut(at..at + value.len()) {
        field.copy_from_slice(value);
    }
}

/// Writes a 16-bit field, if it is there.
pub(super) fn write16(bytes: &mut [u8], at: usize, value: u16) {
    write(bytes, at, &value.to_be_bytes());
}
