//! The differences between chains that have Ethereum's forks, as data.
//!
//! Each difference is a field of [`RuleSet`], and each place that checks a rule asks for it. Fork
//! times, blob parameters and addresses belong to a chain and not to a family, and stand in
//! [`ChainConfig`](crate::ChainConfig). A family whose blocks hold more than Ethereum's, such as
//! the deposits of the OP Stack, needs a transaction type and a price beside its rules: its blocks
//! are refused by their transactions' type, and its chains by the keys of their configurations.

/// The rules of a family of chains, by their differences from Ethereum. There are no others than
/// those named here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleSet {
    /// Its number in the guest's input.
    pub(crate) id: u32,
    /// The family, for messages.
    pub name: &'static str,
    /// The era of a block before Paris, for messages.
    pub(crate) before_paris: &'static str,
    /// From Prague on, the queues of EIP-7002 and 7251 are called at the end of a block, and have
    /// to be there.
    pub has_request_queues: bool,
    /// From Cancun on, transactions may carry blobs.
    pub has_blob_transactions: bool,
}

impl RuleSet {
    /// Ethereum's, its test networks', and those of all chains that bring a configuration.
    pub const ETHEREUM: Self = Self {
        id: 0,
        name: "Ethereum",
        before_paris: "from before the Merge (Paris)",
        has_request_queues: true,
        has_blob_transactions: true,
    };

    /// Linea's. At the addresses of the queues there is nothing; Linea's nodes are told of two
    /// contracts elsewhere, whose calls change nothing and request nothing.
    pub const LINEA: Self = Self {
        id: 1,
        name: "Linea",
        before_paris: "of Linea's time with Clique, before Paris",
        has_request_queues: false,
        has_blob_transactions: false,
    };

    /// All of them, each at the place of its number.
    pub const ALL: [Self; 2] = [Self::ETHEREUM, Self::LINEA];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_set_is_at_its_number() {
        for (id, rules) in (0..).zip(RuleSet::ALL) {
            assert_eq!(rules.id, id, "{}", rules.name);
        }
    }
}
