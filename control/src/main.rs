//! The `vpclab` command.

fn main() {}
