"""Compression of images undone: LZW of TIFF 6.0, PackBits, blocks of LZ4, and the method of Rice in FITS files.

The functions read bytes that may be anything: none reads or writes outside its arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit

_CLEAR, _END, _FIRST_CODE, _MAX_CODES = 256, 257, 258, 4096


@jit
def unpack_lzw(packed: Any, out: Any) -> int:
    """Undo the LZW of TIFF 6.0 (section 13), most significant bit first.

    Parameters
    ----------
    packed : uint8 (n,)
    out : uint8 (m,)
        Filled from its beginning.

    Returns
    -------
    int
        Bytes written; fewer than asked for if the data end early, -1 if they are damaged.
    """
    prefix = np.zeros(_MAX_CODES, np.int32)
    suffix = np.zeros(_MAX_CODES, np.uint8)
    length = np.ones(_MAX_CODES, np.int32)
    for code in range(256):
        suffix[code] = code
    bits, width, buffered, position = np.int64(0), 9, 0, 0
    known, before, done = _FIRST_CODE, -1, 0
    while done < out.size:
        while buffered < width:
            if position >= packed.size:
                return done
            bits = (bits << 8) | packed[position]
            position += 1
            buffered += 8
        code = int((bits >> (buffered - width)) & ((1 << width) - 1))
        buffered -= width
        bits &= (1 << buffered) - 1
        if code == _END:
            return done
        if code == _CLEAR:
            width, known, before = 9, _FIRST_CODE, -1
            continue
        if code > known or (code == known and before < 0) or (before < 0 and code > 255):
            return -1
        # A code that is only about to be known is the string before, with its own first byte behind.
        string = before if code == known else code
        size = length[string] + (1 if code == known else 0)
        first, walk = string, done + length[string] - 1
        while True:
            if walk < out.size:
                out[walk] = suffix[first]
            walk -= 1
            if first < 256:
                break
            first = prefix[first]
        if code == known and done + size - 1 < out.size:
            out[done + size - 1] = suffix[first]
        if before >= 0 and known < _MAX_CODES:
            prefix[known], suffix[known], length[known] = before, suffix[first], length[before] + 1
            known += 1
            if known >= (1 << width) - 1 and width < 12:
                width += 1
        before = code
        done += size
    return int(out.size)


@jit
def unpack_bits(packed: Any, out: Any) -> int:
    """Undo PackBits (TIFF 6.0, section 9); parameters and result as of `unpack_lzw`."""
    position, done = 0, 0
    while done < out.size and position < packed.size:
        count = int(packed[position])
        position += 1
        if count < 128:
            for _ in range(count + 1):
                if position >= packed.size or done >= out.size:
                    return done
                out[done] = packed[position]
                position += 1
                done += 1
        elif count > 128:
            if position >= packed.size:
                return done
            for _ in range(257 - count):
                if done >= out.size:
                    return done
                out[done] = packed[position]
                done += 1
            position += 1
    return done


@jit
def unpack_lz4(packed: Any, out: Any) -> int:
    """Undo one block of LZ4 (the block format of lz4.org); parameters and result as of `unpack_lzw`."""
    position, done = 0, 0
    while position < packed.size:
        token = int(packed[position])
        position += 1
        count = token >> 4
        if count == 15:
            while True:
                if position >= packed.size:
                    return -1
                more = int(packed[position])
                position += 1
                count += more
                if more != 255:
                    break
        if position + count > packed.size or done + count > out.size:
            return -1
        for _ in range(count):
            out[done] = packed[position]
            position += 1
            done += 1
        if position >= packed.size:
            break  # the last sequence holds literals alone
        if position + 2 > packed.size:
            return -1
        offset = int(packed[position]) | int(packed[position + 1]) << 8
        position += 2
        if offset == 0 or offset > done:
            return -1
        count = (token & 15) + 4
        if token & 15 == 15:
            while True:
                if position >= packed.size:
                    return -1
                more = int(packed[position])
                position += 1
                count += more
                if more != 255:
                    break
        if done + count > out.size:
            return -1
        for _ in range(count):
            out[done] = out[done - offset]
            done += 1
    return done


@jit
def unpack_rice(heap: Any, first: Any, count: Any, block: int, out: Any) -> int:
    """Undo the Rice compression of integers of one width, row by row.

    The format is that of the FITS standard 4.0, section 10.4.1 (White, Becker 1998): differences of neighbours, their
    signs folded into the lowest bit, in blocks that each have their own number of bits that are stored as they are.

    Parameters
    ----------
    heap : uint8 (n,)
    first, count : int64 (rows,)
        Where the bytes of each row begin in the heap, and how many they are.
    block : int
        Numbers in a block.
    out : uint8, uint16 or uint32 (rows, columns)
        Written row by row.

    Returns
    -------
    int
        Rows written; fewer than there are where the next one is damaged.
    """
    width = 8 * out.itemsize
    # Bits of a number that says how many are stored as they are, and what it is where numbers are stored whole.
    split_bits, plain = (3, 6) if width == 8 else (4, 14) if width == 16 else (5, 25)
    mask = (np.int64(1) << width) - 1
    for row in range(out.shape[0]):
        at = first[row]
        # Not by the sum of both, which may be too large for its type.
        if at < 0 or count[row] < out.itemsize or count[row] > heap.size - at:
            return row
        end = at + count[row]
        last = np.int64(0)
        for _ in range(out.itemsize):
            last, at = last << 8 | heap[at], at + 1
        bits: Any = np.int64(0)  # read, and not used yet
        held = 0
        for begin in range(0, out.shape[1], block):
            while held < split_bits:
                if at >= end:
                    return row
                bits, held, at = bits << 8 | heap[at], held + 8, at + 1
            held -= split_bits
            split = (bits >> held) - 1
            bits &= (np.int64(1) << held) - 1
            stored = width if split == plain else split
            for i in range(begin, min(begin + block, out.shape[1])):
                if split < 0:
                    out[row, i] = last
                    continue
                folded = np.int64(0)
                if split < plain:  # zeros up to the next one count what is above the bits that are stored
                    while bits == 0:
                        folded += held
                        if at >= end:
                            return row
                        bits, held, at = bits | heap[at], 8, at + 1
                    while bits >> (held - 1) == 0:
                        held, folded = held - 1, folded + 1
                    held -= 1
                    bits &= (np.int64(1) << held) - 1
                while held < stored:
                    if at >= end:
                        return row
                    bits, held, at = bits << 8 | heap[at], held + 8, at + 1
                held -= stored
                folded = folded << stored | bits >> held
                bits &= (np.int64(1) << held) - 1
                last = (last + (folded >> 1 ^ -(folded & 1))) & mask
                out[row, i] = last
    return out.shape[0]
