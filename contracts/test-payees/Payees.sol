// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import "../BatchSettlement.sol";

/// Hostile payees for the tests of BatchSettlement; never deployed anywhere else.
contract Reverter {
    bool public refuses = true;

    function set(bool value) external {
        refuses = value;
    }

    function pull(BatchSettlement target) external {
        target.withdraw();
    }

    receive() external payable {
        require(!refuses, "no");
    }
}

contract GasHog {
    receive() external payable {
        while (true) {}
    }
}

/// Returns 100 kB: a caller that copies return data pays for it.
contract ReturnBomb {
    receive() external payable {
        assembly {
            return(0, 100000)
        }
    }
}

/// Calls back while it is paid or withdraws, to be paid twice.
contract Reenterer {
    BatchSettlement private immutable target;
    bytes32 public invoiceId;
    uint256 public tries;

    constructor(BatchSettlement t) {
        target = t;
    }

    function pull() external {
        target.withdraw();
    }

    receive() external payable {
        tries++;
        (bool ok, ) = address(target).call(abi.encodeCall(BatchSettlement.withdraw, ()));
        require(!ok, "withdrew twice");
    }
}
