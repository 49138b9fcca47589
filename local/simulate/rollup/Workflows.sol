// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title What AGNT2's workflows are as a contract on a general-purpose rollup
/// @notice The yardstick of `npm run simulate`: services, calls in escrow, and plans whose legs are all paid or all refunded, with the reputation that
/// goes with them. Balances are kept inside, as AGNT2 keeps them, so no call pays for a token's transfer; storage is packed as a careful author would.
contract Workflows {
    struct Service {
        address provider;
        uint64 ceiling;
        uint32 deadlineSeconds;
    }

    struct Escrow {
        address payer;
        uint64 amount;
        uint32 deadline;
        address payee;
        uint64 price;
        uint24 workflow;
        uint8 status;
    }

    struct Plan {
        address planner;
        uint32 deadline;
        uint8 legs;
        uint8 done;
        uint8 status;
    }

    struct Account {
        uint64 balance;
        uint64 volume;
        uint32 completed;
        uint32 failed;
    }

    uint8 private constant OPEN = 1;
    uint8 private constant HELD = 2;
    uint8 private constant FULFILLED = 3;
    uint8 private constant REFUNDED = 4;

    mapping(address => Account) public accounts;
    Service[] public services;
    Escrow[] public escrows;
    Plan[] public plans;
    mapping(uint256 plan => mapping(uint256 leg => uint256 serviceAndEscrow)) private _legs;

    event Invoked(uint256 indexed escrow, uint256 indexed service, bytes32 request);
    event Responded(uint256 indexed escrow, uint8 status, bytes32 response);
    event Planned(uint256 indexed plan);

    error Refused();

    constructor() {
        plans.push();
        escrows.push();
    }

    /// @dev Money comes from nowhere: deposits are not what is compared.
    function mint(uint64 amount) external {
        accounts[msg.sender].balance += amount;
    }

    function publish(uint64 ceiling, uint32 deadlineSeconds) external returns (uint256 id) {
        id = services.length;
        services.push(Service(msg.sender, ceiling, deadlineSeconds));
    }

    function plan(uint32 deadlineSeconds, uint64[] calldata wanted) external returns (uint256 id) {
        id = plans.length;
        plans.push(Plan(msg.sender, uint32(block.timestamp) + deadlineSeconds, uint8(wanted.length), 0, OPEN));
        for (uint256 leg; leg < wanted.length; ++leg) {
            _legs[id][leg] = uint256(wanted[leg]) << 128;
        }
        emit Planned(id);
    }

    /// @param workflow 0 for none
    function invoke(uint256 service, uint64 amount, uint24 workflow, uint8 leg, bytes32 request)
        external
        returns (uint256 id)
    {
        Service memory wanted = services[service];
        if (amount > wanted.ceiling || wanted.provider == msg.sender) revert Refused();
        accounts[msg.sender].balance -= amount;
        id = escrows.length;
        if (workflow != 0) {
            Plan storage of_ = plans[workflow];
            if (of_.status != OPEN || block.timestamp > of_.deadline || _legs[workflow][leg] != service << 128) {
                revert Refused();
            }
            _legs[workflow][leg] |= id;
        }
        uint32 deadline = uint32(block.timestamp) + wanted.deadlineSeconds;
        escrows.push(Escrow(msg.sender, amount, deadline, wanted.provider, 0, workflow, OPEN));
        emit Invoked(id, service, request);
    }

    function respond(uint256 id, uint64 price, bytes32 response) external {
        Escrow storage escrow = escrows[id];
        if (escrow.payee != msg.sender || escrow.status != OPEN || block.timestamp > escrow.deadline) revert Refused();
        if (price > escrow.amount) revert Refused();
        escrow.price = price;
        uint256 workflow = escrow.workflow;
        if (workflow == 0) {
            _release(escrow);
        } else {
            escrow.status = HELD;
            Plan storage of_ = plans[workflow];
            if (of_.status != OPEN || block.timestamp > of_.deadline) revert Refused();
            if (++of_.done == of_.legs) {
                of_.status = FULFILLED;
                for (uint256 leg; leg < of_.legs; ++leg) {
                    _release(escrows[uint128(_legs[workflow][leg])]);
                }
            }
        }
        emit Responded(id, escrow.status, response);
    }

    function abort(uint256 workflow) external {
        Plan storage of_ = plans[workflow];
        if (of_.status != OPEN || block.timestamp <= of_.deadline) revert Refused();
        of_.status = REFUNDED;
        for (uint256 leg; leg < of_.legs; ++leg) {
            uint256 id = uint128(_legs[workflow][leg]);
            if (id == 0) continue;
            Escrow storage escrow = escrows[id];
            escrow.status = REFUNDED;
            accounts[escrow.payer].balance += escrow.amount;
        }
    }

    function _release(Escrow storage escrow) private {
        escrow.status = FULFILLED;
        Account storage payee = accounts[escrow.payee];
        payee.balance += escrow.price;
        payee.volume += escrow.price;
        payee.completed += 1;
        if (escrow.amount > escrow.price) accounts[escrow.payer].balance += escrow.amount - escrow.price;
    }
}
