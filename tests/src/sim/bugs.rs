//! Bugs made on purpose, to see that the simulation finds them. None is in the product: each is in the hands that drive it.

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// P1: a swap does not look what it replaces.
    SwapBlindly,
    /// P1: the agent takes the window for open years before.
    WindowAlwaysOpen,
    /// P2: a record that is gone in mid-swap counts as swapped.
    HalfIsDone,
    /// P2: a swap deletes the record and leaves writing the other to whoever comes next.
    SwapOnlyDeletes,
    /// P3: the ledger of what has begun is lost in a crash.
    LedgerLost,
    /// P3: the journal was not on disk when the process was killed.
    JournalLost,
    /// P4: a swap changes every record that showed the old certificate, and 443 with it.
    SwapEverywhere,
    /// P4: putting a certificate back takes the others out of its store.
    AddReplaces,
    /// P5: an approval counts for any plan.
    ApprovalForAny,
    /// P5: signatures are not looked at.
    SignaturesUnread,
    /// P8: the controller does not ask what the neighbours do.
    NeighboursUnasked,
    /// P8: the controller takes a plan for not begun when the link is lost.
    LostLinkFreesSlot,
    /// P8: an agent forgets an emergency stop.
    StopForgotten,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::SwapBlindly,
        Self::WindowAlwaysOpen,
        Self::HalfIsDone,
        Self::SwapOnlyDeletes,
        Self::LedgerLost,
        Self::JournalLost,
        Self::SwapEverywhere,
        Self::AddReplaces,
        Self::ApprovalForAny,
        Self::SignaturesUnread,
        Self::NeighboursUnasked,
        Self::LostLinkFreesSlot,
        Self::StopForgotten,
    ];

    /// The promise that it breaks.
    pub fn promise(self) -> &'static str {
        match self {
            Self::SwapBlindly | Self::WindowAlwaysOpen => "P1",
            Self::HalfIsDone | Self::SwapOnlyDeletes => "P2",
            Self::LedgerLost | Self::JournalLost => "P3",
            Self::SwapEverywhere | Self::AddReplaces => "P4",
            Self::ApprovalForAny | Self::SignaturesUnread => "P5",
            Self::NeighboursUnasked | Self::LostLinkFreesSlot | Self::StopForgotten => "P8",
        }
    }
}
