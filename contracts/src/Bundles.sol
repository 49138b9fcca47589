// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, NONE} from "./Cells.sol";
import {Digests} from "./Digests.sol";
import {Machine} from "./Machine.sol";
import {Ops} from "./Ops.sol";
import {Status} from "./Status.sol";
import {CODES, MAX_NUMBERS, Wire} from "./Wire.sol";

/// @notice A bundle's header, and where one of its interactions is.
/// @param start Place where the interaction starts.
/// @param end Place where it ends.
struct Bundle {
    uint256 actor;
    uint256 nonce;
    uint256 expiry;
    uint256 start;
    uint256 end;
}

/// @title Bundles: up to 256 interactions of one agent under one signature (docs/protocol.md §4; twin of protocol/bundle.ts)
library Bundles {
    uint256 internal constant BUNDLE = 0x10;
    uint256 private constant MAX_FRAME_BYTES = 4096;
    uint256 private constant SIGNATURE_BYTES = 64;
    /// @dev Flag of a bundle that has a payload root.
    uint256 private constant HAS_PAYLOADS = 1;

    /// @notice Checks that the frame is one whole canonical bundle, and finds interaction `which`.
    /// @return well Whether it is one.
    function decode(Machine memory m, uint256[CODES] memory forms, uint256 which)
        internal
        pure
        returns (bool well, Bundle memory bundle)
    {
        uint256 length = m.frameEnd - m.frame;
        if (length < SIGNATURE_BYTES || length > MAX_FRAME_BYTES) return (false, bundle);
        uint256 place = _header(m, forms, bundle);
        if (place != 0) well = _interactions(m, forms, bundle, place, which);
    }

    /// @dev Returns where the interactions start; 0 when the header is malformed.
    function _header(Machine memory m, uint256[CODES] memory forms, Bundle memory bundle)
        private
        pure
        returns (uint256 place)
    {
        uint256 flags = m.byteAt(m.frame + 2);
        if (m.byteAt(m.frame) != BUNDLE || flags > HAS_PAYLOADS) return 0;
        place = Wire.check(forms, forms[0], 0, m.frame + 3, m.frameEnd - SIGNATURE_BYTES);
        if (place == 0) return 0;
        uint256[MAX_NUMBERS] memory numbers;
        Wire.read(forms[0], m.frame + 3, numbers);
        (bundle.actor, bundle.nonce, bundle.expiry) = (numbers[0], numbers[1], numbers[2]);
        if (flags == HAS_PAYLOADS) place += 32;
    }

    /// @dev Whether they are interactions, from a place to the signature.
    function _interactions(
        Machine memory m,
        uint256[CODES] memory forms,
        Bundle memory bundle,
        uint256 place,
        uint256 which
    ) private pure returns (bool) {
        uint256 end = m.frameEnd - SIGNATURE_BYTES;
        uint256 last = m.byteAt(m.frame + 1);
        bundle.start = Wire.check(forms, 0, which, place, end);
        if (bundle.start == 0) return false;
        bundle.end = Wire.check(forms, 0, 1, bundle.start, end);
        if (bundle.end == 0) return false;
        return Wire.check(forms, 0, last - which, bundle.end, end) == end;
    }

    /// @notice Opens the bundle that the frame is, or only looks like. Returns the status.
    function open(Machine memory m) internal view returns (uint256) {
        (bool well, Bundle memory bundle) = decode(m, Ops.forms(), 0);
        if (!well) return Status.MALFORMED;
        if (!m.isLocal(bundle.actor)) return Status.WRONG_SHARD;
        Cell agent = m.agent(bundle.actor);
        if (agent == NONE) return Status.UNKNOWN_AGENT;
        uint256 nonce = Cells.AGENT_NONCE.get(agent);
        if (bundle.nonce != nonce || nonce == type(uint32).max) return Status.BAD_NONCE;
        if (bundle.expiry < m.time()) return Status.EXPIRED;
        uint256 signature = m.frameEnd - SIGNATURE_BYTES;
        bytes32 structHash = Digests.hashBundle(m.bytesAt(m.frame, signature - m.frame));
        if (!m.isSigned(m.key(bundle.actor), structHash, signature)) return Status.BAD_SIGNATURE;
        Cells.AGENT_NONCE.set(agent, nonce + 1);
        return Status.OK;
    }

    /// @notice Runs interaction `which` of the bundle that the frame is. Returns whether it is one, and the status.
    function run(Machine memory m, uint256 which) internal view returns (bool well, uint256 status) {
        uint256[CODES] memory forms = Ops.forms();
        Bundle memory bundle;
        (well, bundle) = decode(m, forms, which);
        if (!well) return (false, Status.BUNDLE_REFUSED);
        (uint256 code, uint256[MAX_NUMBERS] memory numbers) = Ops.read(forms, bundle.start);
        status = Ops.run(m, bundle.actor, code, numbers, bundle.start, bundle.end);
    }
}
