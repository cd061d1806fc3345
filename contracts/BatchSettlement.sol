// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// Pays everybody who delivered parts of a file in one transaction.
///
/// It keeps no money of its own: what it holds is exactly the sum of `owed`. Nobody owns it and nothing in it can be changed.
/// A payee that cannot receive (reverts, burns its gas) never blocks the others: its share is kept in `owed` for `withdraw`.
/// Nothing about the file is on chain: `invoiceId` is a salted hash that only payer and payees can connect with a download.
contract BatchSettlement {
    /// One per payee, whether its share was pushed or kept in `owed`.
    event Paid(address indexed payer, address indexed payee, bytes32 indexed invoiceId, uint256 amount);
    /// The payee could not receive; it may call `withdraw`.
    event Credited(address indexed payee, uint256 amount);

    error BadTotal();
    error Replayed();
    error Nothing();
    error WithdrawFailed();

    struct Share {
        address to;
        uint256 amount;
    }

    /// Enough for a contract wallet that logs what it received; too little to harm anybody.
    uint256 private constant PUSH_GAS = 30_000;

    /// Shares that could not be pushed.
    mapping(address payee => uint256) public owed;
    /// An invoice of one payer is settled at most once, however often the transaction is made.
    mapping(address payer => mapping(bytes32 invoiceId => bool)) public settled;

    /// The sum of all shares must be exactly the value that comes with the call.
    function settleOnce(bytes32 invoiceId, Share[] calldata shares) external payable {
        if (settled[msg.sender][invoiceId]) revert Replayed();
        settled[msg.sender][invoiceId] = true;
        uint256 total;
        for (uint256 i; i < shares.length; ++i) {
            total += shares[i].amount;
            emit Paid(msg.sender, shares[i].to, invoiceId, shares[i].amount);
        }
        if (total != msg.value) revert BadTotal();
        for (uint256 i; i < shares.length; ++i) push(shares[i].to, shares[i].amount);
    }

    /// Takes everything that could not be pushed to the caller.
    function withdraw() external {
        uint256 amount = owed[msg.sender];
        if (amount == 0) revert Nothing();
        owed[msg.sender] = 0;
        (bool ok, ) = msg.sender.call{value: amount}("");
        if (!ok) revert WithdrawFailed();
    }

    /// A re-entering payee finds its invoice settled and in `owed` only what earlier calls could not push: each share leaves once.
    function push(address to, uint256 amount) private {
        bool ok;
        // no return data is copied: a payee cannot make the payer pay for memory
        assembly ("memory-safe") {
            ok := call(PUSH_GAS, to, amount, 0, 0, 0, 0)
        }
        if (!ok) {
            owed[to] += amount;
            emit Credited(to, amount);
        }
    }
}
