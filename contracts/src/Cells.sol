// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @dev Where a field lies in its cell: `offset << 8 | width`, both in bytes.
type Field is uint16;

/// @dev A cell of the step's witness: where its 64 bytes stand in memory.
type Cell is uint256;

/// @dev No such record.
Cell constant NONE = Cell.wrap(0);

using Fields for Field global;
using {isSame as ==, isOther as !=} for Cell global;

library Fields {
    /// @notice A field of a cell in memory, as a number.
    function get(Field field, Cell cell) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(sub(256, shl(3, and(field, 0xff))), mload(add(cell, shr(8, field))))
        }
    }

    /// @notice Writes a field of a cell in memory; bits above its width are cut off.
    function set(Field field, Cell cell, uint256 value) internal pure {
        // What is written past the cell's end is what was there.
        assembly ("memory-safe") {
            let at := add(cell, shr(8, field))
            let bits := shl(3, and(field, 0xff))
            mstore(at, or(and(mload(at), shr(bits, not(0))), shl(sub(256, bits), value)))
        }
    }
}

function isSame(Cell a, Cell b) pure returns (bool) {
    return Cell.unwrap(a) == Cell.unwrap(b);
}

function isOther(Cell a, Cell b) pure returns (bool) {
    return Cell.unwrap(a) != Cell.unwrap(b);
}

library SessionStatus {
    uint256 internal constant EMPTY = 0;
    uint256 internal constant OPEN = 1;
    uint256 internal constant EXITING = 2;
    uint256 internal constant CLOSED = 3;
}

library EscrowStatus {
    uint256 internal constant EMPTY = 0;
    uint256 internal constant OPEN = 1;
    uint256 internal constant HELD = 2;
    uint256 internal constant FULFILLED = 3;
    uint256 internal constant REFUNDED = 4;
    uint256 internal constant EXPIRED = 5;
    uint256 internal constant CONTESTED = 6;
    uint256 internal constant WAITING = 7;
    uint256 internal constant SENT = 8;
}

library WorkflowStatus {
    uint256 internal constant EMPTY = 0;
    uint256 internal constant OPEN = 1;
    uint256 internal constant COMMITTED = 2;
    uint256 internal constant ABORTED = 3;
}

/// @title Cell layouts (docs/protocol.md §2)
/// @notice Names for every field, and decoders for the cells that L1 reads whole. A cell is 64 bytes, checked by whoever
/// takes it from calldata.
library Cells {
    uint256 internal constant SIZE = 64;

    /// @dev Largest amount, and largest varint.
    uint256 internal constant MAX_AMOUNT = 2 ** 53 - 1;

    /// @dev Outbox kind 1: a withdrawal.
    uint256 internal constant WITHDRAWAL = 1;

    // Flags of agents, services and capabilities; of services; of capabilities; of escrows.
    uint256 internal constant EXISTS = 1;
    uint256 internal constant ACTIVE = 2;
    uint256 internal constant REVOKED = 2;
    uint256 internal constant ATTESTED = 1;

    /// @dev Longest deadline, contest window or exit delay, in seconds.
    uint256 internal constant MAX_DURATION = 2 ** 25;
    /// @dev Legs of a workflow, and how they stand in its quad's last three cells.
    uint256 internal constant MAX_LEGS = 12;
    uint256 internal constant LEG_BYTES = 16;
    uint256 internal constant LEGS_A_CELL = 4;
    /// @dev Seconds an outbox record is safe from its ring.
    uint256 internal constant OUTBOX_RETENTION = 2 ** 20;
    /// @dev Outbox slots that only L1's own items may take: forced withdrawals and refunds.
    uint256 internal constant OUTBOX_RESERVE = 2 ** 16;
    /// @dev Seconds between announcing that a stake is taken back and taking it.
    uint256 internal constant UNSTAKE_SECONDS = 604_800;

    Field internal constant HEAD_TIME = Field.wrap(0 << 8 | 4);
    Field internal constant HEAD_AGENTS = Field.wrap(4 << 8 | 4);
    Field internal constant HEAD_SERVICES = Field.wrap(8 << 8 | 4);
    Field internal constant HEAD_CAPABILITIES = Field.wrap(12 << 8 | 4);
    Field internal constant HEAD_SESSIONS = Field.wrap(16 << 8 | 6);
    Field internal constant HEAD_ESCROWS = Field.wrap(22 << 8 | 6);
    Field internal constant HEAD_OUTBOX = Field.wrap(28 << 8 | 6);
    Field internal constant HEAD_WORKFLOWS = Field.wrap(34 << 8 | 6);
    Field internal constant HEAD_SEQ = Field.wrap(40 << 8 | 6);
    Field internal constant HEAD_BURNED = Field.wrap(46 << 8 | 7);

    Field internal constant INBOX_ACCUMULATOR = Field.wrap(0 << 8 | 32);
    Field internal constant INBOX_CURSOR = Field.wrap(32 << 8 | 6);

    Field internal constant PEER_SENT = Field.wrap(0 << 8 | 6);
    Field internal constant PEER_ACKED = Field.wrap(6 << 8 | 6);
    Field internal constant PEER_RECEIVED = Field.wrap(12 << 8 | 6);

    Field internal constant AGENT_OWNER = Field.wrap(0 << 8 | 20);
    Field internal constant AGENT_BALANCE = Field.wrap(20 << 8 | 7);
    Field internal constant AGENT_STAKE = Field.wrap(27 << 8 | 7);
    Field internal constant AGENT_NONCE = Field.wrap(34 << 8 | 4);
    Field internal constant AGENT_EPOCH = Field.wrap(38 << 8 | 2);
    Field internal constant AGENT_COMPLETED = Field.wrap(40 << 8 | 4);
    Field internal constant AGENT_FAILED = Field.wrap(44 << 8 | 3);
    Field internal constant AGENT_VOLUME = Field.wrap(47 << 8 | 6);
    Field internal constant AGENT_RATINGS = Field.wrap(53 << 8 | 3);
    Field internal constant AGENT_RATING_SUM = Field.wrap(56 << 8 | 3);
    Field internal constant AGENT_UNSTAKE_AT = Field.wrap(59 << 8 | 4);
    Field internal constant AGENT_FLAGS = Field.wrap(63 << 8 | 1);

    Field internal constant KEY_X = Field.wrap(0 << 8 | 32);
    Field internal constant KEY_Y = Field.wrap(32 << 8 | 32);

    Field internal constant SERVICE_PROVIDER = Field.wrap(0 << 8 | 4);
    Field internal constant SERVICE_FLAGS = Field.wrap(4 << 8 | 1);
    Field internal constant SERVICE_CEILING = Field.wrap(5 << 8 | 7);
    Field internal constant SERVICE_DEADLINE_SECONDS = Field.wrap(12 << 8 | 4);
    Field internal constant SERVICE_ARBITER = Field.wrap(16 << 8 | 4);
    Field internal constant SERVICE_CONTEST_SECONDS = Field.wrap(20 << 8 | 4);
    Field internal constant SERVICE_METADATA_HASH = Field.wrap(24 << 8 | 32);
    Field internal constant SERVICE_VERSION = Field.wrap(56 << 8 | 4);

    Field internal constant CAPABILITY_GRANTOR = Field.wrap(0 << 8 | 4);
    Field internal constant CAPABILITY_GRANTEE = Field.wrap(4 << 8 | 4);
    Field internal constant CAPABILITY_SERVICE = Field.wrap(8 << 8 | 4);
    Field internal constant CAPABILITY_LIMIT = Field.wrap(12 << 8 | 7);
    Field internal constant CAPABILITY_USED = Field.wrap(19 << 8 | 7);
    Field internal constant CAPABILITY_EXPIRY = Field.wrap(26 << 8 | 4);
    Field internal constant CAPABILITY_FLAGS = Field.wrap(30 << 8 | 1);

    Field internal constant SESSION_A = Field.wrap(0 << 8 | 4);
    Field internal constant SESSION_B = Field.wrap(4 << 8 | 4);
    Field internal constant SESSION_DEPOSIT_A = Field.wrap(8 << 8 | 7);
    Field internal constant SESSION_DEPOSIT_B = Field.wrap(15 << 8 | 7);
    Field internal constant SESSION_PAID_AB = Field.wrap(22 << 8 | 7);
    Field internal constant SESSION_PAID_BA = Field.wrap(29 << 8 | 7);
    Field internal constant SESSION_CALLS_AB = Field.wrap(36 << 8 | 6);
    Field internal constant SESSION_CALLS_BA = Field.wrap(42 << 8 | 6);
    Field internal constant SESSION_EXIT_AT = Field.wrap(48 << 8 | 4);
    Field internal constant SESSION_EXIT_DELAY = Field.wrap(52 << 8 | 4);
    Field internal constant SESSION_SERIAL = Field.wrap(56 << 8 | 6);
    Field internal constant SESSION_STATUS = Field.wrap(62 << 8 | 1);
    Field internal constant SESSION_FLAGS = Field.wrap(63 << 8 | 1);
    /// @dev Of the quad's last cell; the two between are laid out as keys.
    Field internal constant SESSION_ROOT_AB = Field.wrap(0 << 8 | 32);
    Field internal constant SESSION_ROOT_BA = Field.wrap(32 << 8 | 32);

    Field internal constant ESCROW_SERIAL = Field.wrap(0 << 8 | 6);
    Field internal constant ESCROW_PAYER = Field.wrap(6 << 8 | 4);
    Field internal constant ESCROW_PAYEE = Field.wrap(10 << 8 | 4);
    Field internal constant ESCROW_SERVICE = Field.wrap(14 << 8 | 4);
    Field internal constant ESCROW_AMOUNT = Field.wrap(18 << 8 | 7);
    Field internal constant ESCROW_PAID = Field.wrap(25 << 8 | 7);
    Field internal constant ESCROW_DEADLINE = Field.wrap(32 << 8 | 4);
    Field internal constant ESCROW_STATUS = Field.wrap(36 << 8 | 1);
    Field internal constant ESCROW_WORKFLOW = Field.wrap(37 << 8 | 7);
    Field internal constant ESCROW_LINK = Field.wrap(44 << 8 | 7);
    Field internal constant ESCROW_CAPABILITY = Field.wrap(51 << 8 | 4);
    Field internal constant ESCROW_ARBITER = Field.wrap(55 << 8 | 4);
    Field internal constant ESCROW_CONTEST_SECONDS = Field.wrap(59 << 8 | 4);
    Field internal constant ESCROW_FLAGS = Field.wrap(63 << 8 | 1);

    Field internal constant OUTBOX_KIND = Field.wrap(0 << 8 | 1);
    Field internal constant OUTBOX_SERIAL = Field.wrap(2 << 8 | 6);
    Field internal constant OUTBOX_TIME = Field.wrap(8 << 8 | 4);
    Field internal constant OUTBOX_AGENT = Field.wrap(12 << 8 | 4);
    Field internal constant OUTBOX_RECIPIENT = Field.wrap(16 << 8 | 20);
    Field internal constant OUTBOX_AMOUNT = Field.wrap(36 << 8 | 7);

    Field internal constant WORKFLOW_SERIAL = Field.wrap(0 << 8 | 6);
    Field internal constant WORKFLOW_PLANNER = Field.wrap(6 << 8 | 4);
    Field internal constant WORKFLOW_LEGS = Field.wrap(10 << 8 | 1);
    Field internal constant WORKFLOW_STATUS = Field.wrap(11 << 8 | 1);
    Field internal constant WORKFLOW_DEADLINE = Field.wrap(12 << 8 | 4);
    Field internal constant WORKFLOW_DONE = Field.wrap(16 << 8 | 2);
    Field internal constant WORKFLOW_TOLD = Field.wrap(18 << 8 | 2);

    /// @dev Of a leg's sixteen bytes; leg i is the (i mod 4)th of cell 1 + i / 4 of its workflow's quad.
    Field internal constant LEG_PAYER = Field.wrap(0 << 8 | 4);
    Field internal constant LEG_SERVICE = Field.wrap(4 << 8 | 4);
    Field internal constant LEG_ESCROW = Field.wrap(8 << 8 | 7);

    Field internal constant MESSAGE_NUMBER = Field.wrap(0 << 8 | 6);
    Field internal constant MESSAGE_TO = Field.wrap(6 << 8 | 1);
    Field internal constant MESSAGE_KIND = Field.wrap(7 << 8 | 1);
    Field internal constant MESSAGE_TIME = Field.wrap(8 << 8 | 4);
    Field internal constant MESSAGE_AGENT = Field.wrap(12 << 8 | 4);
    Field internal constant MESSAGE_AMOUNT = Field.wrap(16 << 8 | 7);
    Field internal constant MESSAGE_HASH = Field.wrap(23 << 8 | 32);

    struct Head {
        uint32 time;
        uint32 agents;
        uint32 services;
        uint32 capabilities;
        uint48 sessions;
        uint48 escrows;
        uint48 outbox;
        uint48 workflows;
        uint48 seq;
        uint56 burned;
    }

    struct Inbox {
        bytes32 accumulator;
        uint48 cursor;
    }

    struct Session {
        uint32 a;
        uint32 b;
        uint56 depositA;
        uint56 depositB;
        uint56 paidAB;
        uint56 paidBA;
        uint48 callsAB;
        uint48 callsBA;
        uint32 exitAt;
        uint32 exitDelay;
        uint48 serial;
        uint8 status;
        uint8 flags;
    }

    struct Outbox {
        uint8 kind;
        uint48 serial;
        uint32 time;
        uint32 agent;
        address recipient;
        uint56 amount;
    }

    /// @notice Flag of a session: party 0 (a) or 1 (b) has attested.
    function attestedBy(uint256 party) internal pure returns (uint256) {
        return 1 << party;
    }

    /// @notice Flag of a session: party 0 (a) or 1 (b) was slashed over it.
    function slashedOf(uint256 party) internal pure returns (uint256) {
        return 4 << party;
    }

    /// @notice A field of a cell, as a number. A read past the cell's end is cut off by the shift.
    function get(bytes calldata cell, Field field) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(sub(256, shl(3, and(field, 0xff))), calldataload(add(cell.offset, shr(8, field))))
        }
    }

    function head(bytes calldata cell) internal pure returns (Head memory) {
        return Head({
            time: uint32(get(cell, HEAD_TIME)),
            agents: uint32(get(cell, HEAD_AGENTS)),
            services: uint32(get(cell, HEAD_SERVICES)),
            capabilities: uint32(get(cell, HEAD_CAPABILITIES)),
            sessions: uint48(get(cell, HEAD_SESSIONS)),
            escrows: uint48(get(cell, HEAD_ESCROWS)),
            outbox: uint48(get(cell, HEAD_OUTBOX)),
            workflows: uint48(get(cell, HEAD_WORKFLOWS)),
            seq: uint48(get(cell, HEAD_SEQ)),
            burned: uint56(get(cell, HEAD_BURNED))
        });
    }

    function inbox(bytes calldata cell) internal pure returns (Inbox memory) {
        return Inbox({accumulator: bytes32(get(cell, INBOX_ACCUMULATOR)), cursor: uint48(get(cell, INBOX_CURSOR))});
    }

    /// @notice The first cell of a session's quad.
    function session(bytes calldata cell) internal pure returns (Session memory) {
        return Session({
            a: uint32(get(cell, SESSION_A)),
            b: uint32(get(cell, SESSION_B)),
            depositA: uint56(get(cell, SESSION_DEPOSIT_A)),
            depositB: uint56(get(cell, SESSION_DEPOSIT_B)),
            paidAB: uint56(get(cell, SESSION_PAID_AB)),
            paidBA: uint56(get(cell, SESSION_PAID_BA)),
            callsAB: uint48(get(cell, SESSION_CALLS_AB)),
            callsBA: uint48(get(cell, SESSION_CALLS_BA)),
            exitAt: uint32(get(cell, SESSION_EXIT_AT)),
            exitDelay: uint32(get(cell, SESSION_EXIT_DELAY)),
            serial: uint48(get(cell, SESSION_SERIAL)),
            status: uint8(get(cell, SESSION_STATUS)),
            flags: uint8(get(cell, SESSION_FLAGS))
        });
    }

    function outbox(bytes calldata cell) internal pure returns (Outbox memory) {
        return Outbox({
            kind: uint8(get(cell, OUTBOX_KIND)),
            serial: uint48(get(cell, OUTBOX_SERIAL)),
            time: uint32(get(cell, OUTBOX_TIME)),
            agent: uint32(get(cell, OUTBOX_AGENT)),
            recipient: address(uint160(get(cell, OUTBOX_RECIPIENT))),
            amount: uint56(get(cell, OUTBOX_AMOUNT))
        });
    }
}
