//! Packets that the tests share: the worked packets of the GENEVE reference,
//! each from its outer IPv4 header on.

/// One packet per line: name, blank, hexadecimal.
const GWLB_HEX: &str = include_str!("../../testdata/gwlb.hex");

/// Names of the worked packets: A to E.
pub(crate) const GWLB: [&str; 5] = ["A", "B", "C", "D", "E"];

/// Bytes of worked packet `name`.
pub(crate) fn gwlb(name: &str) -> Vec<u8> {
    let text = GWLB_HEX
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
