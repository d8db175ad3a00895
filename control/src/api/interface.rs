//! Network interfaces.

use vpclab_dataplane::addr::Mac;

use super::Transaction;

/// A locally administered address that no interface of this process had before.
pub(crate) fn new_mac(tx: &mut Transaction<'_>) -> Mac {
    let [.., b, c, d, e, f] = tx.mint_count().to_be_bytes();
    Mac([0x02, b, c, d, e, f])
}
