"""The fast path's inner loops, in Numba: event-driven synapses, vectorized neurons, bit for bit equal to `reference`.

Every kernel runs the samples of one chunk in parallel. Activity is (step, sample, neuron) over all samples, of which
the chunk begins at `first`; activations are int32 (sample, step, neuron) of the chunk, a scratch that is used again.
All arithmetic is int32; `fast` checks beforehand that no sum of a program can leave it, and takes the reference
otherwise.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from neurodeploy.ir.program import STATE_MAX

MOST_EVENTS = 256
"""Events summed in int16, 256 x 127 = 32,512 at most, before the sum is flushed to int32."""
LANES = 16
"""Weights of 16 bits in a 256-bit register; rows are padded to whole registers."""
WRAP = 1 << 23


@njit(cache=True, inline="always")
def _shift(total: int, exponent: int) -> int:
    """Return 2 total shifted by the weight exponent, flooring to the right as Lava's right_shift does."""
    return (2 * total) << exponent if exponent >= 0 else (2 * total) >> -exponent


_GATHER = np.uint64(0x0102040810204080)
"""Multiplied by eight bytes of 0 or 1, it collects them as the bits of the highest byte, the first byte lowest."""
_SET_BITS = np.array(
    [[i for i in range(8) if mask >> i & 1] + [0] * (8 - mask.bit_count()) for mask in range(256)], np.int32
)
_HOW_MANY = np.array([mask.bit_count() for mask in range(256)], np.int32)


@njit(cache=True)
def _events(row: np.ndarray, words: np.ndarray, found: np.ndarray) -> int:
    """Write the indices of the ones in `row` into `found` and return how many; `words` is the same memory by 8."""
    count = 0
    for word in range(words.size):
        bytes_ = words[word]
        if bytes_:
            mask = (bytes_ * _GATHER) >> np.uint64(56)
            for k in range(8):
                found[count + k] = 8 * word + _SET_BITS[mask, k]
            count += int(_HOW_MANY[mask])
    for index in range(8 * words.size, row.size):
        found[count] = index
        count += row[index] != 0
    return count


@njit(cache=True, inline="always")
def _add_eight(short: np.ndarray, weight: np.ndarray, rows: np.ndarray) -> None:
    """Add eight rows of weights to a sum of 16 bits; together they load and store it once."""
    a, b, c, d, e, f, g, h = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6], rows[7]
    for j in range(short.size):
        left = np.int16(weight[a, j] + weight[b, j]) + np.int16(weight[c, j] + weight[d, j])
        right = np.int16(weight[e, j] + weight[f, j]) + np.int16(weight[g, j] + weight[h, j])
        short[j] = np.int16(short[j] + np.int16(left) + np.int16(right))


@njit(cache=True, parallel=True)
def add_dense(
    active: np.ndarray, words: np.ndarray, first: int, weight: np.ndarray, exponent: int, activation: np.ndarray
) -> None:
    """Add dense synapses' sums of binary activity to `activation`.

    Args:
        active: uint8 (step, sample, pre); words: the same memory as uint64 (step, sample, pre // 8), or of length 0.
        weight: int16 (pre + 1, post padded to `LANES`), one row per source, so that an event adds one contiguous row;
            the last row is zero and fills the last eight events up.
    """
    samples, steps, post = activation.shape
    pre, width = active.shape[2], weight.shape[1]
    for sample in prange(samples):
        found = np.empty(pre + 16, np.uint32)
        short = np.zeros(width, np.int16)
        total = np.zeros(width, np.int32)
        for step in range(steps):
            count = _events(active[step, first + sample], words[step, first + sample], found)
            found[count : count + 8] = pre
            total[:] = 0
            for start in range(0, count, MOST_EVENTS):
                short[:] = 0
                for event in range(start, min(start + MOST_EVENTS, count), 8):
                    _add_eight(short, weight, found[event : event + 8])
                for j in range(width):
                    total[j] += short[j]
            out = activation[sample, step]
            if exponent >= 0:
                for j in range(post):
                    out[j] += (2 * total[j]) << exponent
            else:
                for j in range(post):
                    out[j] += (2 * total[j]) >> -exponent


@njit(cache=True, parallel=True)
def add_dense_graded(
    payload: np.ndarray, first: int, weight: np.ndarray, exponent: int, activation: np.ndarray
) -> None:
    """Add dense synapses' sums of integer payloads, int32 (step, sample, pre), to `activation`."""
    samples, steps, post = activation.shape
    pre, width = payload.shape[2], weight.shape[1]
    for sample in prange(samples):
        total = np.zeros(width, np.int32)
        for step in range(steps):
            total[:] = 0
            for i in range(pre):
                value = payload[step, first + sample, i]
                if value:
                    row = weight[i]
                    for j in range(width):
                        total[j] += value * np.int32(row[j])
            out = activation[sample, step]
            for j in range(post):
                out[j] += _shift(total[j], exponent)


@njit(cache=True, parallel=True)
def add_sparse(
    payload: np.ndarray,
    first: int,
    weight: np.ndarray,
    targets: np.ndarray,
    starts: np.ndarray,
    exponent: int,
    activation: np.ndarray,
) -> None:
    """Add sparse synapses' sums to `activation`.

    Args:
        payload: uint8 or int32 (step, sample, pre).
        weight, targets: of each synapse, grouped by source; source i owns synapses starts[i] to starts[i + 1].
    """
    samples, steps, post = activation.shape
    pre = payload.shape[2]
    for sample in prange(samples):
        total = np.zeros(post, np.int32)
        for step in range(steps):
            total[:] = 0
            for i in range(pre):
                value = np.int32(payload[step, first + sample, i])
                if value:
                    for k in range(starts[i], starts[i + 1]):
                        total[targets[k]] += value * np.int32(weight[k])
            out = activation[sample, step]
            for j in range(post):
                out[j] += _shift(total[j], exponent)


@njit(cache=True, parallel=True)
def add_conv(payload: np.ndarray, first: int, weight: np.ndarray, geometry: np.ndarray, activation: np.ndarray) -> None:
    """Add a convolution's sums to `activation`, event by event: each event adds its kernel around itself.

    Args:
        payload: uint8 or int32 (step, sample, channel * y * x).
        weight: int16 (channel, ky, kx, out of its group), so that the inner loop runs over output channels.
        geometry: channels, height, width, out channels, out height, out width, then (y, x) pairs of stride, padding,
            dilation, then groups.
    """
    samples, steps = activation.shape[:2]
    channels, height, width, outs, rows, columns, sy, sx, py, px, dy, dx, groups = geometry
    _, kernel_y, kernel_x, group_out = weight.shape
    for sample in prange(samples):
        total = np.zeros((rows, columns, outs), np.int32)
        for step in range(steps):
            total[:] = 0
            source = payload[step, first + sample]
            for index in range(channels * height * width):
                value = np.int32(source[index])
                if value == 0:
                    continue
                channel, place = divmod(index, height * width)
                y, x = divmod(place, width)
                group = (channel * groups // channels) * group_out
                for ky in range(kernel_y):
                    oy = y + py - ky * dy
                    if oy < 0 or oy % sy or oy >= rows * sy:
                        continue
                    for kx in range(kernel_x):
                        ox = x + px - kx * dx
                        if ox < 0 or ox % sx or ox >= columns * sx:
                            continue
                        row = weight[channel, ky, kx]
                        out = total[oy // sy, ox // sx]
                        for j in range(group_out):
                            out[group + j] += value * np.int32(row[j])
            result = activation[sample, step]
            for o in range(outs):
                for oy in range(rows):
                    for ox in range(columns):
                        wrapped = ((2 * total[oy, ox, o] + WRAP) & (2 * WRAP - 1)) - WRAP
                        result[(o * rows + oy) * columns + ox] += wrapped


@njit(cache=True, inline="always")
def _decay(x: np.int32, keep: np.int32) -> np.int32:
    """Return trunc0(x keep / 4096) without leaving 32 bits: |x| = 4096 high + low, both products below 2^24.

    Numba promotes every int32 operation to 64 bits; the casts take it back, and leave LLVM eight lanes instead of four.
    """
    magnitude = np.int32(abs(x))
    high = np.int32(np.int32(magnitude >> 12) * keep)
    low = np.int32(np.int32(np.int32(magnitude & 4095) * keep) >> 12)
    sign = np.int32(x >> 31)
    return np.int32(np.int32(np.int32(high + low) ^ sign) - sign)


_ZERO, _WRAPS, _MOST, _LEAST = np.int32(0), np.int32(2 * WRAP), np.int32(STATE_MAX), np.int32(-STATE_MAX)


@njit(cache=True, inline="always")
def _clip(v: np.int32) -> np.int32:
    """Return the membrane within +-(2^23 - 1)."""
    v = _MOST if v > _MOST else v
    return _LEAST if v < _LEAST else v


@njit(cache=True, parallel=True)
def advance(
    activation: np.ndarray,
    keep_u: np.ndarray,
    keep_v: np.ndarray,
    theta: np.ndarray,
    bias_u: np.ndarray,
    bias_v: np.ndarray,
    rule: np.ndarray,
    recurrent: np.ndarray,
    exponent: int,
    first: int,
    spikes: np.ndarray,
    currents: np.ndarray,
    voltages: np.ndarray,
) -> None:
    """Run the neurons of one population over all steps, samples in parallel.

    Args:
        activation: int32 (sample, step, neuron) of everything that is not recurrent.
        keep_u, keep_v, theta, bias_u, bias_v: int32 (neuron,); keep is 4096 - decay, theta is shifted by six already.
        rule: int32 masks of `fast.RULES`, all ones or zero.
        recurrent: int16 (neuron, neuron) rows by source, or of length 0; exponent: its weight exponent.
        spikes: uint8 out (step, sample, neuron).
        currents, voltages: int32 out of the same shape, or of length 0 where states are not wanted.
    """
    samples, steps, neurons = activation.shape
    zero_now, zero_late, subtract, correct = rule[0], rule[1], rule[2], rule[3]
    for sample in prange(samples):
        u, v = np.zeros(neurons, np.int32), np.zeros(neurons, np.int32)
        back = np.zeros(neurons, np.int32)
        for step in range(steps):
            a = activation[sample, step]
            out = spikes[step, first + sample]
            if recurrent.size and step:
                back[:] = 0
                for i in range(neurons):
                    if spikes[step - 1, first + sample, i]:
                        row = recurrent[i]
                        for j in range(neurons):
                            back[j] += row[j]
                for j in range(neurons):
                    a[j] += _shift(back[j], exponent)
            for j in range(neurons):
                current = np.int32(np.int32(_decay(u[j], keep_u[j]) + np.int32(a[j] << 6)) + bias_u[j])
                current = np.int32(current - (_WRAPS if current > WRAP else _ZERO))
                current = np.int32(current + (_WRAPS if current <= -WRAP else _ZERO))
                u[j] = current
                late = theta[j] if v[j] > theta[j] else _ZERO
                w = np.int32(np.int32(_decay(v[j], keep_v[j]) + current) + bias_v[j])
                w = _ZERO if (late & zero_late) != 0 else w
                w = _clip(np.int32(w - np.int32(late & subtract)))
                now = theta[j] if w > theta[j] else _ZERO
                out[j] = now != 0
                w = _ZERO if (now & zero_now) != 0 else w
                v[j] = _clip(np.int32(w - np.int32(np.int32(now - late) & correct)))
            if currents.size:
                currents[step, first + sample] = u
                voltages[step, first + sample] = v


@njit(cache=True, inline="always")
def _current(u: np.int32, keep: np.int32, activation: np.int32, bias: np.int32) -> np.int32:
    """Return the current after one step, wrapped once into 24 bits; `activation` has been shifted."""
    current = np.int32(np.int32(_decay(u, keep) + activation) + bias)
    current = np.int32(current - (_WRAPS if current > WRAP else _ZERO))
    return np.int32(current + (_WRAPS if current <= -WRAP else _ZERO))


@njit(cache=True, inline="always")
def _count(v: np.int32, theta: np.int32, reached: np.int32, most: np.int32) -> np.int32:
    """Return how often a membrane fires: at the threshold if `reached`, and up to `most` times."""
    if v < theta or (v == theta and not reached):
        return _ZERO
    return np.int32(1) if most == 1 else min(np.int32(v // theta), most)


@njit(cache=True, parallel=True)
def advance_counting(
    activation: np.ndarray,
    keep_u: np.ndarray,
    keep_v: np.ndarray,
    theta: np.ndarray,
    bias_u: np.ndarray,
    bias_v: np.ndarray,
    rule: np.ndarray,
    firing: np.ndarray,
    lowest: np.ndarray,
    recurrent: np.ndarray,
    exponent: int,
    first: int,
    spikes: np.ndarray,
    currents: np.ndarray,
    voltages: np.ndarray,
) -> None:
    """Run neurons that `advance` cannot: they fire at the threshold or several times, or have a floor.

    Args:
        firing: int32, whether a membrane at the threshold fires, and how often a neuron fires in a step at most.
        lowest: int32 (neuron,), below which no membrane is left after a step.
        spikes: uint8 or int32 out (step, sample, neuron).
        others: as in `advance`.
    """
    samples, steps, neurons = activation.shape
    zero_now, zero_late, subtract, correct, subtract_now = rule[0], rule[1], rule[2], rule[3], rule[4]
    reached, most = firing[0], firing[1]
    for sample in prange(samples):
        u, v = np.zeros(neurons, np.int32), np.zeros(neurons, np.int32)
        back = np.zeros(neurons, np.int32)
        for step in range(steps):
            a = activation[sample, step]
            out = spikes[step, first + sample]
            if recurrent.size and step:
                back[:] = 0
                for i in range(neurons):
                    count = np.int32(spikes[step - 1, first + sample, i])
                    if count:
                        row = recurrent[i]
                        for j in range(neurons):
                            back[j] += count * np.int32(row[j])
                for j in range(neurons):
                    a[j] += _shift(back[j], exponent)
            for j in range(neurons):
                u[j] = _current(u[j], keep_u[j], np.int32(a[j] << 6), bias_u[j])
                late = _count(v[j], theta[j], reached, most)
                w = np.int32(np.int32(_decay(v[j], keep_v[j]) + u[j]) + bias_v[j])
                w = _ZERO if late and zero_late else w
                w = _clip(np.int32(w - (np.int32(late * theta[j]) & subtract)))
                now = _count(w, theta[j], reached, most)
                out[j] = now
                w = _ZERO if now and zero_now else w
                w = _clip(np.int32(w - (np.int32((now - late) * theta[j]) & correct)))
                w = _clip(np.int32(w - (np.int32(now * theta[j]) & subtract_now)))
                v[j] = lowest[j] if w < lowest[j] else w
            if currents.size:
                currents[step, first + sample] = u
                voltages[step, first + sample] = v


@njit(cache=True, parallel=True)
def advance_values(
    activation: np.ndarray,
    keep_u: np.ndarray,
    keep_v: np.ndarray,
    theta: np.ndarray,
    bias_u: np.ndarray,
    bias_v: np.ndarray,
    rule: np.ndarray,
    payload: np.ndarray,
    lowest: np.ndarray,
    recurrent: np.ndarray,
    exponent: int,
    first: int,
    spikes: np.ndarray,
    currents: np.ndarray,
    voltages: np.ndarray,
) -> None:
    """Run neurons that send their membrane in every step or, sigma-delta, how much it changed since they last did.

    They neither reset nor feed themselves.

    Args:
        payload: int32, by how many bits a value is shifted down to be sent, how large a payload is at most, by how many
            bits activations are shifted up, and whether changes are sent.
        lowest: int32 (neuron,), the least value that is told.
        spikes: int32 out (step, sample, neuron).
        others: as in `advance`; rule, recurrent and exponent are not read, nor is theta where no changes are sent.
    """
    samples, steps, neurons = activation.shape
    shift, most, up, changes = payload[0], payload[1], payload[2], payload[3]
    for sample in prange(samples):
        u, v, told = np.zeros(neurons, np.int32), np.zeros(neurons, np.int32), np.zeros(neurons, np.int32)
        for step in range(steps):
            a = activation[sample, step]
            out = spikes[step, first + sample]
            for j in range(neurons):
                u[j] = _current(u[j], keep_u[j], np.int32(a[j] << up), bias_u[j])
                v[j] = _clip(np.int32(np.int32(_decay(v[j], keep_v[j]) + u[j]) + bias_v[j]))
                value = max(v[j], lowest[j])
                change = np.int32(value - told[j])
                sent = not changes or abs(change) >= theta[j]
                out[j] = min(max(change >> shift, -most), most) if sent else _ZERO
                told[j] = value if sent and changes else told[j]
            if currents.size:
                currents[step, first + sample] = u
                voltages[step, first + sample] = v
