"""Coder, models and walk of docs/mask-format.md, "Bits, version 2"."""

import bisect
import functools


class Damaged(Exception):
    """The bytes are no mask."""


def clamp(value, least, most):
    return least if value < least else most if value > most else value


# --- Probabilities and logits ----------------------------------------------------------------------------------------

E = [1 << 40]
for _ in range(3071):
    E.append((E[-1] * 4629735647166717428) >> 62)


def _squash(x):
    if x < 0:
        return 65536 - _squash(-x)
    return min(65535, (E[x] * 65536 + (E[x] + (1 << 40)) // 2) // (E[x] + (1 << 40)))


SQUASH = [_squash(x) for x in range(-3071, 3072)]


def squash(x):
    return SQUASH[clamp(x, -3071, 3071) + 3071]


def _stretches():
    x, table = -3071, []
    for p in range(65536):
        while x < 3071 and SQUASH[x + 3071] < max(1, p):
            x += 1
        table.append(x)
    return table


STRETCH = _stretches()


@functools.cache
def exp(x):
    x = clamp(x, -3071, 3071)
    return E[x] >> 24 if x >= 0 else (1 << 56) // E[-x]


POWERS = [(1 << 64) // E[-x] if x < 0 else E[x] >> 16 for x in range(-3071, 3072)]


def ln(y):
    """The greatest x whose power of 24 bits is at most y, or the least of all."""
    return max(0, bisect.bisect_right(POWERS, y) - 1) - 3071


# --- Arithmetic coder, counters, numbers -----------------------------------------------------------------------------

WORD = (1 << 64) - 1


class Decoder:
    """The arithmetic coder."""

    def __init__(self, data):
        self.data, self.at = data, 8
        self.low, self.high = 0, WORD
        self.value = int.from_bytes(data[:8].ljust(8, b"\0"), "big")

    def bit(self, p):
        split = self.low + ((self.high - self.low) >> 16) * p
        bit = self.value <= split
        if bit:
            self.high = split
        else:
            self.low = split + 1
        while (self.low ^ self.high) >> 56 == 0:
            self.low = self.low << 8 & WORD
            self.high = self.high << 8 & WORD | 255
            following = self.data[self.at] if self.at < len(self.data) else 0
            self.value = self.value << 8 & WORD | following
            self.at += 1
        return int(bit)


class Counter:
    """An adaptive probability."""

    __slots__ = ("P", "n")

    def __init__(self, p, n):
        self.P, self.n = p << 6, n

    def probability(self):
        return self.P >> 6 or 1

    def learn(self, bit, limit):
        r = (1 << 17) // (2 * self.n + 3)
        if bit:
            self.P += ((4194303 - self.P) * r) >> 16
        else:
            self.P -= (self.P * r) >> 16
        if self.n < limit:
            self.n += 1


class Table(dict):
    """Counters that begin when they are first asked for, at what `start` gives for their key."""

    def __init__(self, start):
        super().__init__()
        self.start = start

    def __missing__(self, key):
        self[key] = counter = self.start(key)
        return counter


class Numbers:
    """A coder of numbers."""

    def __init__(self, coder):
        self.coder, self.before = coder, 0
        self.lengths = Table(lambda key: Counter(32768, 0))
        self.bits = Table(lambda key: Counter(32768, 0))

    def learned(self, counter):
        bit = self.coder.bit(counter.probability())
        counter.learn(bit, 30)
        return bit

    def read(self, most):
        longest, length = most.bit_length(), 0
        while length < longest and self.learned(self.lengths[self.before, length]):
            length += 1
        self.before = length
        if length == 0:
            return 0
        number = 1
        for place in range(length - 1):
            bit = self.learned(self.bits[length]) if place == 0 else self.coder.bit(32768)
            number = number << 1 | bit
        if number > most:
            raise Damaged
        return number


# --- What the weights say --------------------------------------------------------------------------------------------


class Plane:
    """A tensor as a matrix: its floats' bits; its strata, leanings and sizes of channels, if there are any."""

    def __init__(self, patterns, rows, columns, parent, leanings, sizes):
        self.patterns, self.rows, self.columns = patterns, rows, columns
        self.parent, self.leanings, self.sizes = parent, leanings, sizes
        self.size = rows * columns

    def measure(self):
        """Takes magnitudes and averages."""
        rows, columns = self.rows, self.columns
        self.magnitudes = magnitudes = [(bits & 0x7FFFFFFF) >> 17 for bits in self.patterns]
        self.mean = sum(magnitudes) // self.size
        self.row_mean = [sum(magnitudes[row * columns:(row + 1) * columns]) // columns for row in range(rows)]
        self.column_mean = [sum(magnitudes[column::columns]) // rows for column in range(columns)]

        self.activity = [0] * columns
        if self.sizes:
            mean, each = sum(self.sizes) // len(self.sizes), columns // len(self.sizes)
            self.activity = [clamp(self.sizes[column // each] - mean, -256, 256) for column in range(columns)]

        self.inherited = [0] * rows, [0] * columns
        if self.parent:
            by_row = [sum(self.parent[row * columns:(row + 1) * columns]) for row in range(rows)]
            by_column = [sum(self.parent[column::columns]) for column in range(columns)]
            self.inherited = inherited(by_row), inherited(by_column)

    def standing(self, row, column):
        """t, r, c and lift of a weight."""
        magnitude = self.magnitudes[row * self.columns + column]
        t, r, c = magnitude - self.mean, magnitude - self.row_mean[row], magnitude - self.column_mean[column]
        return t, r, c, t - ((r + c) >> 2)

    def stratum(self, at):
        return self.parent[at] if self.parent else 0

    def cell(self, at):
        return 2 * self.stratum(at) + (self.patterns[at] >> 31)

    def lean(self, row, column, tilt):
        """The logarithm of a weight's odds."""
        if self.stratum(row * self.columns + column):
            return 0
        leaning = self.leanings[0][row] + self.leanings[1][column] if self.leanings else 0
        leaning += self.inherited[0][row] + self.inherited[1][column]
        return self.standing(row, column)[3] * tilt + (self.activity[column] * tilt * 3 >> 3) + leaning


def inherited(drops):
    """By how much rows or columns lean, of which the parent drops so many weights."""
    n, total = len(drops), sum(drops)
    return [clamp(ln(((k + 2) * n << 24) // (total + 2 * n)), -1024, 1024) for k in drops]


# --- Levels and classes ----------------------------------------------------------------------------------------------


def logit24(f):
    return STRETCH[f >> 8]


def level(x):
    return min(31, (x + 3072) >> 7)


def middle(l):
    return 128 * l - 3008


def classed(d):
    return clamp((d + 128) >> 4, 0, 23)


def shrunk(k, n, prior, w):
    return (((k << 24) + w * prior) * ((1 << 31) // (n + w))) >> 31


def coarse(l):
    return min(11, max(0, l - 5))


# --- Model `best` ----------------------------------------------------------------------------------------------------

# What each table's counters begin with, given the parts of its index.
STARTS = [
    lambda dense, t, r: middle(dense),
    lambda dense, r, c: middle(dense),
    lambda dense, row, col: middle(row) + middle(col) - middle(dense),
    lambda dense, sign, col: middle(sign) + middle(col) - middle(dense),
    lambda sign, t: middle(sign),
    lambda col, r: middle(col),
    lambda sign, coarse, t: middle(sign) + middle(coarse + 5) - middle(12),
    lambda sign, activity, c: middle(sign),
]


class Best:
    """Twelve logits, mixed by three mixers."""

    def __init__(self):
        def table(start):
            return Table(lambda key: Counter(squash(start(*key)), 8))

        self.tables = [table(start) for start in STARTS]
        self.mixers = [Table(lambda key: [40000] + [2000] * 10 + [0]) for _ in range(3)]

    def begin_tensor(self, plane, density):
        self.plane, self.density = plane, density
        self.columns = [[0] * plane.columns, [0] * plane.columns]
        self.flagged = 0

    def begin_row(self, row):
        self.passed, self.flipped = [0] * 4, [0] * 4

    def end_row(self):
        self.flagged += 1

    def probability(self, row, column, prior, seen):
        plane = self.plane
        t, r, c, _ = plane.standing(row, column)
        cell = plane.cell(row * plane.columns + column)
        stratum = cell >> 1
        d = self.density[stratum]
        both = 2 * stratum, 2 * stratum + 1
        k = self.flipped[both[0]] + self.flipped[both[1]]
        n = self.passed[both[0]] + self.passed[both[1]]
        f_row = shrunk(k, n, d, 16)
        f_sign = logit24(shrunk(self.flipped[cell], self.passed[cell], f_row, 6))
        f_col = logit24(shrunk(self.columns[stratum][column], self.flagged, d, 8))
        dense, lrow, sign, col = level(logit24(d)), level(logit24(f_row)), level(f_sign), level(f_col)
        t, r, c, activity = classed(t), classed(r), classed(c), classed(plane.activity[column])
        keys = [(dense, t, r), (dense, r, c), (dense, lrow, col), (dense, sign, col), (sign, t), (col, r),
                (sign, coarse(col), t), (sign, activity, c)]
        self.counters = [table[key] for table, key in zip(self.tables, keys)]
        self.logits = [prior, *(STRETCH[counter.probability()] for counter in self.counters), f_sign, f_col,
                       256]
        sets = (sign, seen), (t, dense), (coarse(col), activity)
        self.chosen = [mixer[key] for mixer, key in zip(self.mixers, sets)]
        self.outputs = []
        for weights in self.chosen:
            total = sum([(weight >> 5) * logit for weight, logit in zip(weights, self.logits)]) >> 11
            self.outputs.append(clamp(total, -3071, 3071))
        total = sum(self.outputs)
        return squash(total // 3 if total >= 0 else -(-total // 3))

    def learn(self, row, column, flips):
        for weights, output in zip(self.chosen, self.outputs):
            e = ((65535 if flips else 0) - squash(output)) >> 1
            for i, logit in enumerate(self.logits):
                weights[i] = clamp(weights[i] + ((3 * logit * e + 32768) >> 16), -1048575, 1048575)
        for counter in self.counters:
            counter.learn(flips, 1000)
        cell = self.plane.cell(row * self.plane.columns + column)
        self.passed[cell] += 1
        if flips:
            self.flipped[cell] += 1
            self.columns[cell >> 1][column] += 1


# --- Model `fast` ----------------------------------------------------------------------------------------------------


class Fast:
    """One table of counters."""

    def __init__(self):
        def start(key):
            row, col, _ = key
            return Counter(squash(middle(row) + middle(col) - middle(13)), 1)

        self.table = Table(start)

    def begin_tensor(self, plane, density):
        self.plane, self.density = plane, density
        self.flips = [[0] * plane.columns, [0] * plane.columns]
        self.flagged = 0
        self.col = [[self.settled_column(s, column) for column in range(plane.columns)] for s in (0, 1)]

    def settled_column(self, stratum, column):
        flips = min(65535, self.flips[stratum][column])
        return level(logit24(shrunk(flips, self.flagged, self.density[stratum], 10)))

    def settle_row(self):
        self.since = 0
        fractions = (shrunk(self.flipped[cell], self.passed[cell], self.density[cell >> 1], 24) for cell in range(4))
        self.row = [level(logit24(f)) for f in fractions]

    def begin_row(self, row):
        self.flagged += 1
        if self.flagged % 8 == 0:
            for stratum in (0, 1):
                for column in range(self.plane.columns):
                    self.col[stratum][column] = self.settled_column(stratum, column)
        self.passed, self.flipped = [0] * 4, [0] * 4
        self.settle_row()

    def end_row(self):
        pass

    def probability(self, row, column, prior, seen):
        plane = self.plane
        cell = plane.cell(row * plane.columns + column)
        lift = plane.standing(row, column)[3]
        self.counter = self.table[self.row[cell], self.col[cell >> 1][column], classed(lift)]
        return self.counter.probability()

    def learn(self, row, column, flips):
        self.counter.learn(flips, 127)
        cell = self.plane.cell(row * self.plane.columns + column)
        stratum = cell >> 1
        self.passed[cell] += 1
        self.since += 1
        if flips:
            self.flipped[cell] += 1
            self.flips[stratum][column] += 1
            self.col[stratum][column] = self.settled_column(stratum, column)
        if flips or self.since == 8:
            self.settle_row()


# --- Walk ------------------------------------------------------------------------------------------------------------


class Walk:
    """The walk over the tensors of a segment."""

    def __init__(self, data, tilt, best):
        self.coder = Decoder(data)
        self.tilt, self.all_best = tilt, best
        self.best, self.fast = Best(), Fast()
        self.flags = Table(lambda l: Counter(squash(middle(l)), 4))

    def tensor(self, plane, counts):
        """One bit for each weight of a tensor, 1 = flipped."""
        coder, columns = self.coder, plane.columns
        plane.measure()
        leans = [plane.lean(row, column, self.tilt) for row in range(plane.rows) for column in range(columns)]
        odds = [exp(lean) for lean in leans]
        model = self.best if self.all_best or sum(counts) < 1024 else self.fast
        strata = plane.parent or [0] * plane.size
        ones = sum(strata)
        weights, odds_left, left = [plane.size - ones, ones], [0, 0], list(counts)
        for stratum, own in zip(strata, odds):
            odds_left[stratum] += own
        density = [max(1, min((1 << 24) - 256, (left[s] << 24) // weights[s])) if weights[s] else 1 for s in (0, 1)]
        model.begin_tensor(plane, density)
        bits = [0] * plane.size
        for row in range(plane.rows):
            if left == [0, 0]:
                break
            rate = [min((1 << 30) - 1, (left[s] << 40) // odds_left[s]) if odds_left[s] else 0 for s in (0, 1)]
            of_row = [0, 0]
            for at in range(row * columns, (row + 1) * columns):
                of_row[strata[at]] += odds[at]
            expected = min(1 << 40, sum((rate[s] * of_row[s]) >> 16 for s in (0, 1)))
            odds_left = [odds_left[s] - of_row[s] for s in (0, 1)]
            e = expected >> 8
            flag = self.flags[(STRETCH[(e << 16) // (e + 65536)] + 3072) >> 7]
            flips = coder.bit(flag.probability())
            flag.learn(flips, 255)
            if not flips:
                continue
            model.begin_row(row)
            seen = 0
            for column in range(columns):
                if left == [0, 0]:
                    break
                at = row * columns + column
                stratum = strata[at]
                o = min(1 << 36, (rate[stratum] * odds[at]) >> 16)
                own = clamp((o << 24) // (o + (1 << 24)), 1, (1 << 24) - 256)
                if seen:
                    prior = clamp(ln(rate[stratum]) + leans[at], -3071, 3071)
                else:
                    g = 1 << 24 if expected >= 6 << 24 else (1 << 23) + expected // 12
                    first = (own << 24) // max(expected, own) + ((own * g) >> 24)
                    prior = logit24(min((1 << 24) - 256, first))
                    expected = max(0, expected - own)
                p = model.probability(row, column, prior, seen)
                flips = 1 if column == columns - 1 and not seen else coder.bit(p)
                model.learn(row, column, flips)
                if flips:
                    left[stratum] -= 1
                    if left[stratum] < 0:
                        raise Damaged
                    bits[at] = seen = 1
            model.end_row()
        if left != [0, 0]:
            raise Damaged
        return bits
