//! vpclab: control plane, lab and command line.
