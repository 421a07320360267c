"""A second decoder of mask artefacts, written from docs/mask-format.md alone.

    decoder.py BASE.safetensors ARTEFACT... [--parent ARTEFACT] [--prior PRIOR]

Prints one JSON line for each artefact: what it holds, or {"error": code}. Ends with 1 if one was refused.
Slow and plain on purpose; needs nothing but Python 3.11, and the `zstd` command for version 1 and priors.
"""

import argparse
import hashlib
import json
import math
import re
import struct
import subprocess
import sys
import unicodedata
import uuid

import model


class Refused(Exception):
    """Carries the code of an error."""


CORRUPT = "artefact_corrupt"


def must(condition, code=CORRUPT):
    if not condition:
        raise Refused(code)


def sha256(data):
    return hashlib.sha256(data).digest()


# --- Architectures ---------------------------------------------------------------------------------------------------


def norm(name, channels):
    return [(f"{name}.{part}", [channels]) for part in ("weight", "bias", "running_mean", "running_var")]


def efficientnet_lite(width, depth):
    """`width` and `depth` in tenths."""
    stages = [(1, 3, 1, 16), (2, 3, 6, 24), (2, 5, 6, 40), (3, 3, 6, 80), (3, 5, 6, 112), (4, 5, 6, 192),
              (1, 3, 6, 320)]
    tensors = [("_conv_stem.weight", [32, 3, 3, 3]), *norm("_bn0", 32)]
    inputs, block = 32, 0
    for stage, (blocks, kernel, expansion, outputs) in enumerate(stages):
        blocks = blocks if stage in (0, 6) else -(-blocks * depth // 10)
        scaled = outputs * width
        outputs = (scaled + 40) // 80 * 8
        outputs += 8 if outputs * 100 < scaled * 9 else 0
        for _ in range(blocks):
            name, wide = f"_blocks.{block}.", inputs * expansion
            if expansion > 1:
                tensors += [(name + "_expand_conv.weight", [wide, inputs, 1, 1]), *norm(name + "_bn0", wide)]
            tensors += [(name + "_depthwise_conv.weight", [wide, 1, kernel, kernel]), *norm(name + "_bn1", wide)]
            tensors += [(name + "_project_conv.weight", [outputs, wide, 1, 1]), *norm(name + "_bn2", outputs)]
            block, inputs = block + 1, outputs
    return tensors + [("_conv_head.weight", [1280, inputs, 1, 1]), *norm("_bn1", 1280)]


def resnet(bottleneck, depths):
    tensors = [("conv1.weight", [64, 3, 7, 7]), *norm("bn1", 64)]
    inputs = 64
    for stage, depth in enumerate(depths):
        width = 64 << stage
        outputs = width * 4 if bottleneck else width
        if bottleneck:
            kernels = [(1, width, None), (3, width, width), (1, outputs, width)]
        else:
            kernels = [(3, width, None), (3, width, width)]
        for block in range(depth):
            name = f"layer{stage + 1}.{block}."
            for number, (kernel, out, into) in enumerate(kernels, 1):
                shape = [out, into or inputs, kernel, kernel]
                tensors += [(f"{name}conv{number}.weight", shape), *norm(f"{name}bn{number}", out)]
            if block == 0 and (stage > 0 or inputs != outputs):
                tensors += [(name + "downsample.0.weight", [outputs, inputs, 1, 1])]
                tensors += norm(name + "downsample.1", outputs)
            inputs = outputs
    return tensors


def mobilenet_v2():
    tensors = [("features.0.0.weight", [32, 3, 3, 3]), *norm("features.0.1", 32)]
    inputs, block = 32, 1
    for blocks, outputs in zip((1, 2, 3, 4, 3, 3, 1), (16, 24, 32, 64, 96, 160, 320)):
        for _ in range(blocks):
            name, part = f"features.{block}.conv.", 0 if block == 1 else 1
            wide = inputs * (6 if part else 1)
            if part:
                tensors += [(name + "0.0.weight", [wide, inputs, 1, 1]), *norm(name + "0.1", wide)]
            tensors += [(f"{name}{part}.0.weight", [wide, 1, 3, 3]), *norm(f"{name}{part}.1", wide)]
            tensors += [(f"{name}{part + 1}.weight", [outputs, wide, 1, 1]), *norm(f"{name}{part + 2}", outputs)]
            block, inputs = block + 1, outputs
    return tensors + [("features.18.0.weight", [1280, 320, 1, 1]), *norm("features.18.1", 1280)]


def pair(name, *shape):
    return [(name + ".weight", [*shape]), (name + ".bias", [shape[0]])]


def transformer(width, patch, positions, scaled=False, registers=False, clip=False):
    tensors = [("cls_token", [1, 1, width])]
    tensors += [("reg_token", [1, 4, width])] if registers else []
    tensors += [("pos_embed", [1, positions, width]), ("patch_embed.proj.weight", [width, 3, patch, patch])]
    tensors += pair("norm_pre", width) if clip else [("patch_embed.proj.bias", [width])]
    for block in range(12):
        name = f"blocks.{block}."
        tensors += pair(name + "norm1", width) + pair(name + "attn.qkv", 3 * width, width)
        tensors += pair(name + "attn.proj", width, width)
        tensors += [(name + "ls1.gamma", [width])] if scaled else []
        tensors += pair(name + "norm2", width) + pair(name + "mlp.fc1", 4 * width, width)
        tensors += pair(name + "mlp.fc2", width, 4 * width)
        tensors += [(name + "ls2.gamma", [width])] if scaled else []
    return tensors + pair("norm", width)


ARCHITECTURES = {
    "efficientnet_lite0": efficientnet_lite(10, 10),
    "efficientnet_lite1": efficientnet_lite(10, 11),
    "efficientnet_lite2": efficientnet_lite(11, 12),
    "resnet18": resnet(False, [2, 2, 2, 2]),
    "resnet34": resnet(False, [3, 4, 6, 3]),
    "resnet50": resnet(True, [3, 4, 6, 3]),
    "mobilenet_v2": mobilenet_v2(),
    "vit_small_patch16_224": transformer(384, 16, 197),
    "vit_base_patch16_224": transformer(768, 16, 197),
    "vit_base_patch32_224": transformer(768, 32, 50),
    "vit_small_patch16_224_dino": transformer(384, 16, 197),
    "vit_small_patch14_dinov2": transformer(384, 14, 1370, scaled=True),
    "vit_small_patch14_reg4_dinov2": transformer(384, 14, 1369, scaled=True, registers=True),
    "vit_base_patch16_clip_224": transformer(768, 16, 197, clip=True),
    "vit_base_patch32_clip_224": transformer(768, 32, 50, clip=True),
    "vit_base_patch16_clip_quickgelu_224": transformer(768, 16, 197, clip=True),
    "vit_base_patch32_clip_quickgelu_224": transformer(768, 32, 50, clip=True),
}


def is_statistic(name):
    return name.endswith((".running_mean", ".running_var"))


# --- Base ------------------------------------------------------------------------------------------------------------


class Base:
    """The float32 bytes of each tensor of a safetensors file."""

    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        (length,) = struct.unpack_from("<Q", data)
        self.header = json.loads(data[8:8 + length])
        self.data = memoryview(data)[8 + length:]
        self.digests = {}

    def raw(self, name):
        begin, end = self.header[name]["data_offsets"]
        return self.data[begin:end]

    def floats(self, name):
        return list(struct.unpack(f"<{len(self.raw(name)) // 4}f", self.raw(name)))

    def patterns(self, name):
        return struct.unpack(f"<{len(self.raw(name)) // 4}I", self.raw(name))

    def digest(self, architecture):
        """The digest of the canonical form; none if this is a base of another architecture."""
        if architecture not in self.digests:
            whole = hashlib.sha256()
            for name, shape in ARCHITECTURES[architecture]:
                entry = self.header.get(name)
                if entry is None or entry["dtype"] != "F32" or entry["shape"] != shape:
                    return None
                whole.update(self.raw(name))
            self.digests[architecture] = whole.digest()
        return self.digests[architecture]


# --- Frame and header ------------------------------------------------------------------------------------------------


def frame(data):
    """Version, header, bits, statistics and, in version 3, experts of a file that is whole."""
    magic = b"\x89KGM\r\n\x1a\n"
    must(data[:8] == magic[:len(data)], "not_an_artefact")
    must(len(data) >= 22, "artefact_truncated")
    (version,) = struct.unpack_from("<H", data, 8)
    must(version in (1, 2, 3), "artefact_version")
    count = 4 if version == 3 else 3
    at = 10 + 4 * count
    must(len(data) >= at, "artefact_truncated")
    lengths = struct.unpack_from(f"<{count}I", data, 10)
    end = at + sum(lengths)
    must(len(data) >= end + 32, "artefact_truncated")
    must(data[end:] == sha256(data[:end]))
    parts = []
    for length in lengths:
        parts.append(data[at:at + length])
        at += length
    return version, *parts, *[None] * (4 - count)


def varint(data, at, most):
    value = 0
    for count in range(most):
        must(at < len(data))
        value |= (data[at] & 127) << (7 * count)
        at += 1
        if data[at - 1] < 128:
            must(value < 1 << 64)
            return value, at
    raise Refused(CORRUPT)


TEXT, BYTES, UINT, INT, FLOAT = "text", "bytes", "uint", "int", "float"
PROFILE = {1: ("libtorch", TEXT), 2: ("device", TEXT), 3: ("threads", UINT), 4: ("instructions", TEXT)}
FIGURES = {1: ("base", FLOAT), 2: ("mask", FLOAT), 3: ("lower", FLOAT), 4: ("upper", FLOAT), 5: ("rank", FLOAT)}
VIEW = {
    1: ("left", UINT), 2: ("top", UINT), 3: ("width", UINT), 4: ("height", UINT), 5: ("columns", UINT), 6: ("rows", UINT),
    7: ("overlap", UINT), 8: ("size", UINT), 9: ("bit_depth", UINT), 10: ("digest", BYTES),
}
HEADER = {
    1: ("architecture", TEXT), 2: ("base", BYTES), 3: ("preprocessing", BYTES), 4: ("site", TEXT), 5: ("version", UINT),
    6: ("snapshot", BYTES), 7: ("recipe", BYTES), 8: ("job", TEXT), 9: ("profile", PROFILE), 10: ("masked", BYTES),
    11: ("moved", BYTES), 12: ("weights", BYTES), 13: ("report", BYTES), 14: ("figures", FIGURES),
    15: ("software", TEXT), 16: ("created_at", INT), 17: ("parent", BYTES), 18: ("prior", BYTES),
    19: ("view", VIEW),
}
EMPTY = {TEXT: "", BYTES: b"", UINT: 0, INT: 0, FLOAT: 0.0}
WIRE = {TEXT: 2, BYTES: 2, UINT: 0, INT: 0, FLOAT: 5}


def empty(fields):
    return {name: empty(kind) if isinstance(kind, dict) else EMPTY[kind] for name, kind in fields.values()}


def message(data, fields, into=None, depth=0):
    """Reads a protobuf message; the last of several values of a field stands, messages are merged."""
    into = empty(fields) if into is None else into
    at = 0
    while at < len(data):
        key, at = varint(data, at, 10)
        number, wire = key >> 3, key & 7
        must(0 < number < 1 << 29)
        known = fields.get(number)
        if known is None:
            at = skip(data, at, number, wire, depth)
            continue
        name, kind = known
        must(wire == (2 if isinstance(kind, dict) else WIRE[kind]))
        if wire == 0:
            value, at = varint(data, at, 10)
            into[name] = value & 0xFFFFFFFF if kind == UINT else value
        elif wire == 5:
            must(at + 4 <= len(data))
            (into[name],), at = struct.unpack_from("<f", data, at), at + 4
        else:
            length, at = varint(data, at, 10)
            must(length <= len(data) - at)
            value, at = data[at:at + length], at + length
            if isinstance(kind, dict):
                message(value, kind, into[name], depth + 1)
            elif kind == TEXT:
                try:
                    into[name] = value.decode()
                except UnicodeDecodeError:
                    raise Refused(CORRUPT) from None
            else:
                into[name] = value
    return into


def skip(data, at, number, wire, depth):
    """Steps over an unknown field."""
    must(depth < 100 and wire in (0, 1, 2, 3, 5))
    if wire == 0:
        return varint(data, at, 10)[1]
    if wire == 3:
        while True:
            key, at = varint(data, at, 10)
            must(key >> 3 > 0)
            if key & 7 == 4:
                must(key >> 3 == number)
                return at
            at = skip(data, at, key >> 3, key & 7, depth + 1)
    length = {1: 8, 5: 4}.get(wire)
    if wire == 2:
        length, at = varint(data, at, 10)
    must(length <= len(data) - at)
    return at + length


def members(bitset, count):
    """The indices of the ones of a bitset."""
    must(len(bitset) == (count + 7) // 8)
    ones = [index for index in range(len(bitset) * 8) if bitset[index // 8] >> index % 8 & 1]
    must(not ones or ones[-1] < count)
    return ones


def check_view(view):
    """Refuses a view that cannot be, or that has fields unknown here."""
    must(view["width"] >= 100 and view["left"] + view["width"] <= 10000)
    must(view["height"] >= 100 and view["top"] + view["height"] <= 10000)
    must(1 <= view["columns"] <= 8 and 1 <= view["rows"] <= 8)
    must(view["overlap"] <= (5000 if view["columns"] * view["rows"] > 1 else 0))
    must(view["size"] == 0 or 32 <= view["size"] <= 1024)
    must(view["bit_depth"] <= 2)
    written = {
        "region": {edge: view[edge] / 10000 for edge in ("left", "top", "width", "height")},
        "tiles": {"columns": view["columns"], "rows": view["rows"], "overlap": view["overlap"] / 10000},
    }
    if view["size"]:
        written["size"] = view["size"]
    if view["bit_depth"]:
        written["bit-depth"] = ("used-bits", "full-range")[view["bit_depth"] - 1]
    must(hashlib.sha256(json.dumps(written, separators=(",", ":")).encode()).digest() == view["digest"])


def read_header(data):
    header = message(data, HEADER)
    must(header["architecture"] in ARCHITECTURES, "architecture_unknown")
    for name in ("base", "preprocessing", "snapshot", "recipe", "weights"):
        must(len(header[name]) == 32)
    for name in ("report", "parent", "prior"):
        must(len(header[name]) in (0, 32))
    must(re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", header["site"]))
    if header["job"]:
        try:
            uuid.UUID(header["job"])
        except ValueError:
            raise Refused(CORRUPT) from None
    if header["view"] != empty(VIEW):
        check_view(header["view"])
    profile = header["profile"]
    for text in (header["software"], profile["libtorch"], profile["device"], profile["instructions"]):
        must(len(text.encode()) <= 256 and not any(unicodedata.category(c) == "Cc" for c in text))
    must(all(math.isfinite(figure) for figure in header["figures"].values()))
    tensors = ARCHITECTURES[header["architecture"]]
    header["masked"], header["moved"] = (members(header[name], len(tensors)) for name in ("masked", "moved"))
    must(not any(is_statistic(tensors[index][0]) for index in header["masked"]))
    must(all(is_statistic(tensors[index][0]) for index in header["moved"]))
    return header


# --- Priors ----------------------------------------------------------------------------------------------------------


def unzstd(data, most):
    done = subprocess.run(["zstd", "-dcq"], input=data, capture_output=True)
    must(done.returncode == 0 and len(done.stdout) <= most)
    return done.stdout


def read_prior(path):
    """Digest and leanings, by tensor, of a population prior."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        must(data[:8] == b"\x89KGP\r\n\x1a\n")
        content = unzstd(data[8:], 1 << 28)
        must(len(content) >= 72 and content[-32:] == sha256(content[:-32]))
        content = content[:-32]
        version, base, _, length = struct.unpack_from("<H32sIH", content)
        must(version == 1)
        architecture = content[40:40 + length].decode()
        must(architecture in ARCHITECTURES)
        tensors = ARCHITECTURES[architecture]
        leanings, at = {}, 40 + length
        digest = sha256(base + content[at:])
        while at < len(content):
            (index,) = struct.unpack_from("<I", content, at)
            must(index < len(tensors))
            rows, columns = matrix(tensors[index][1])
            values = struct.unpack_from(f"<{rows + columns}h", content, at + 4)
            leanings[index] = values[:rows], values[rows:]
            at += 4 + 2 * (rows + columns)
        return digest, leanings
    except (Refused, struct.error, UnicodeDecodeError):
        raise Refused("not_a_prior") from None


def matrix(shape):
    rows = shape[0] if len(shape) > 1 else 1
    return rows, math.prod(shape) // rows


def norm_read_by(tensors, index):
    """The names of weight and bias of the norm whose channels the columns of a tensor read, or none."""
    name, shape = tensors[index]
    if len(shape) != 4 or index < 5 or is_depthwise(tensors[index]):
        return None
    (weight, (channels, *_)), (bias, _), _, (last, _) = tensors[index - 4:index]
    if not last.endswith(".running_var") or channels != shape[1]:
        return None
    parents = [module.rpartition(".")[0].rpartition(".")[0] for module in (name, weight)]
    return (weight, bias) if is_depthwise(tensors[index - 5]) or parents[0] == parents[1] else None


def is_depthwise(tensor):
    _, shape = tensor
    return len(shape) == 4 and shape[1] == 1


def sizes_of_channels(tensors, index, base):
    norm = norm_read_by(tensors, index)
    if norm is None:
        return None
    sizes = []
    for factor, summand in zip(base.floats(norm[0]), base.floats(norm[1])):
        most = f32(summand + f32(3 * abs(factor)))
        (pattern,) = struct.unpack("<I", struct.pack("<f", most if most > 0 else 0.0))
        sizes.append(max(7000, pattern >> 17))
    return sizes


# --- Bits ------------------------------------------------------------------------------------------------------------


def packed_tensors(data, sizes):
    """Cuts packed bits: for each tensor a list, 1 = dropped."""
    at, tensors = 0, []
    for size in sizes:
        own = data[at:at + (size + 7) // 8]
        at += len(own)
        must(len(own) == (size + 7) // 8 and (size % 8 == 0 or own[-1] >> size % 8 == 0))
        tensors.append([~own[i // 8] >> i % 8 & 1 for i in range(size)])
    must(at == len(data))
    return tensors


def bits_of_version_2(data, planes, with_parent):
    """For each tensor a list, 1 = flipped."""
    must(len(data) > 0)
    tilt, best = data[0] & 31, data[0] >> 5 & 1
    must(data[0] >> 6 == 0)
    length, at = varint(data, 1, 5)
    must(length <= len(data) - at)
    coder = model.Decoder(data[at:at + length])
    at += length
    numbers, of_parent = model.Numbers(coder), model.Numbers(coder)
    counts = []
    for plane in planes:
        first = numbers.read(plane.size)
        second = of_parent.read(plane.size - first) if with_parent else 0
        counts.append([first, second])

    segments, weights, flipped = [[]], 0, 0
    for number, plane in enumerate(planes):
        if sum(counts[number]) == 0:
            continue
        segments[-1].append(number)
        weights, flipped = weights + plane.size, flipped + sum(counts[number])
        if weights >= 1 << 20 and flipped >= 1 << 12:
            segments.append([])
            weights, flipped = 0, 0
    bits = [[0] * plane.size for plane in planes]
    for segment in segments:
        if not segment:
            continue
        length, at = varint(data, at, 5)
        stored, length = length & 1, length >> 1
        must(length <= len(data) - at)
        own, at = data[at:at + length], at + length
        if stored:
            for number, flipped in zip(segment, packed_tensors(own, [planes[n].size for n in segment])):
                strata = planes[number].parent
                found = [0, 0]
                for weight, flips in enumerate(flipped):
                    found[strata[weight] if strata else 0] += flips
                must(found == counts[number])
                bits[number] = flipped
        else:
            walk = model.Walk(own, tilt, best)
            for number in segment:
                bits[number] = walk.tensor(planes[number], counts[number])
    must(at == len(data))
    return bits


# --- Statistics ------------------------------------------------------------------------------------------------------


def f32(value):
    """Rounds to float32, to nearest even."""
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def statistics_of_version_2(data, moved, tensors, base):
    """For each moved tensor its float32 bytes."""
    must((len(data) == 0) == (len(moved) == 0))
    coder = model.Decoder(data)
    means, variances = model.Numbers(coder), model.Numbers(coder)
    result = {}
    for index in moved:
        name = tensors[index][0]
        values = []
        if name.endswith("_mean"):
            deviations = [f32(math.sqrt(variance)) for variance in base.floats(tensors[index + 1][0])]
            for mean, deviation in zip(base.floats(name), deviations):
                step = f32(deviation / 256) if deviation else 1 / 256
                values.append(f32(mean + f32(signed(means) * step)))
        else:
            for pattern in base.patterns(name):
                pattern += signed(variances) << 15
                must(0 <= pattern < 1 << 31)
                values.append(struct.unpack("<f", struct.pack("<I", pattern))[0])
        must(all(math.isfinite(value) for value in values))
        result[index] = struct.pack(f"<{len(values)}f", *values)
    return result


def signed(numbers):
    z = numbers.read((1 << 32) - 1)
    q = z // 2 if z % 2 == 0 else -((z + 1) // 2)
    must(abs(q) <= 1 << 24)
    return q


def statistics_of_version_1(data, moved, tensors):
    at, result = 0, {}
    for index in moved:
        (size,) = tensors[index][1]
        result[index] = data[at:at + 4 * size]
        at += 4 * size
        must(at <= len(data))
        values = struct.unpack(f"<{size}f", result[index])
        must(all(math.isfinite(value) for value in values))
        must(not tensors[index][0].endswith("_var") or all(value >= 0 for value in values))
    must(at == len(data))
    return result


# --- Experts ----------------------------------------------------------------------------------------------------------


def embedding_length(tensors):
    """As long as the last tensor."""
    return math.prod(tensors[-1][1])


class Section:
    """Router, coded masks and joint embedding of a cascade."""

    def __init__(self, data, length):
        self.data, self.at, self.length = data, 0, length
        components, count = self.take(2)
        (width,) = struct.unpack("<H", self.take(2))
        must(1 <= components <= 64 and 2 <= count <= 32 and 1 <= width <= length)
        self.projection = self.rows(components)
        self.groups = [self.group(components) for _ in range(count)]
        self.experts = [self.expert() for _ in range(count)]
        self.joint = [self.rows(width) for _ in range(count + 1)]
        must(self.at == len(data))

    def take(self, length):
        must(length <= len(self.data) - self.at)
        self.at += length
        return self.data[self.at - length:self.at]

    def floats(self, count):
        numbers = struct.unpack(f"<{count}f", self.take(4 * count))
        must(all(math.isfinite(number) for number in numbers))
        return numbers

    def rows(self, count):
        return [(*self.floats(2), struct.unpack(f"<{self.length}b", self.take(self.length))) for _ in range(count)]

    def group(self, components):
        (weight,), mean = self.floats(1), self.floats(components)
        factor = [self.floats(row + 1) for row in range(components)]
        must(weight > 0 and all(row[-1] > 0 for row in factor))
        return weight, mean, factor

    def expert(self):
        weights = self.take(32)
        bits, statistics = struct.unpack("<II", self.take(8))
        return weights, self.take(bits), self.take(statistics)

    def expert_of(self, embedding):
        norm = math.sqrt(added(value * value for value in embedding))
        unit = [value * (1 / norm if norm > 0 else 0.0) for value in embedding]
        point = projected(self.projection, unit)
        scores = []
        for weight, mean, factor in self.groups:
            apart = [p - m for p, m in zip(point, mean)]
            score = math.log(weight)
            for row in factor:
                along = added(a * x for a, x in zip(row, apart))
                score += math.log(row[-1]) - 0.5 * along * along
            scores.append(score)
        return scores.index(max(scores)) + 1

    def joint_of(self, ran):
        joint = [0.0] * len(self.joint[0])
        for network, embedding in ran:
            joint = [sum_ + value for sum_, value in zip(joint, projected(self.joint[network], embedding))]
        return struct.pack(f"<{len(joint)}f", *joint).hex()


def added(values):
    """One after the other; Python's own sum compensates for rounding."""
    total = 0.0
    for value in values:
        total += value
    return total


def projected(rows, embedding):
    return [scale * added(w * v for w, v in zip(weights, embedding)) - offset for scale, offset, weights in rows]


PROBES = 8


def probe(number, length):
    """An embedding to ask routers about."""
    return [((at * 7919 + number * 104729) % 1009 - 504) / 512 for at in range(length)]


# --- Everything ------------------------------------------------------------------------------------------------------


def masked(weights, dropped):
    """The float32 bytes of a masked tensor."""
    kept = len(dropped) - sum(dropped)
    if kept < len(dropped):
        alpha = f32(math.sqrt(kept / len(dropped)))
        weights = [0.0 if drops else f32(weight / alpha) for weight, drops in zip(weights, dropped)]
    return struct.pack(f"<{len(weights)}f", *weights)


def dropped_by(flipped, before):
    return [flips ^ drops for flips, drops in zip(flipped, before)] if before else flipped


def packed(dropped):
    data = bytearray((len(dropped) + 7) // 8)
    for weight, drops in enumerate(dropped):
        data[weight // 8] |= (1 - drops) << weight % 8
    return bytes(data)


def decode(data, base, parent=None, prior=None):
    """Header, dropped weights by tensor, statistics by tensor. `parent` is a file's bytes, `prior` is as read."""
    version, header, bits, statistics, section = frame(data)
    header = read_header(header)
    tensors = ARCHITECTURES[header["architecture"]]
    if section is not None:
        header["experts"] = Section(section, embedding_length(tensors))
    if version == 1:
        sizes = [math.prod(tensors[index][1]) for index in header["masked"]]
        content = unzstd(bits, sum((size + 7) // 8 for size in sizes))
        dropped = dict(zip(header["masked"], packed_tensors(content, sizes)))
        for bits in dropped.values():
            must(not all(bits), "nothing_kept")
        moved = statistics_of_version_1(statistics, header["moved"], tensors)
        must(base.digest(header["architecture"]) == header["base"], "wrong_base")
        return header, dropped, moved

    must(base.digest(header["architecture"]) == header["base"], "wrong_base")
    strata, leanings = {}, {}
    if header["parent"]:
        must(parent is not None and sha256(parent) == header["parent"], "parent_missing")
        of_parent, strata, _ = decode(parent, base, None, prior)
        must(not of_parent["parent"])
    if header["prior"]:
        must(prior is not None and prior[0] == header["prior"], "prior_missing")
        leanings = prior[1]
    return header, *coded(bits, statistics, header, base, strata, leanings, bool(header["parent"]))


def coded(bits, statistics, header, base, strata, leanings, with_parent):
    """Dropped weights and statistics, by tensor, of one coded mask."""
    tensors = ARCHITECTURES[header["architecture"]]
    planes = []
    for index in header["masked"]:
        name, shape = tensors[index]
        must(not with_parent or index in strata)
        rows, columns = matrix(shape)
        sizes = sizes_of_channels(tensors, index, base)
        planes.append(model.Plane(base.patterns(name), rows, columns, strata.get(index), leanings.get(index), sizes))
    try:
        flipped = bits_of_version_2(bits, planes, with_parent)
        dropped = [dropped_by(own, plane.parent) for own, plane in zip(flipped, planes)]
        must(not any(all(own) for own in dropped), "nothing_kept")
        moved = statistics_of_version_2(statistics, header["moved"], tensors, base)
    except model.Damaged:
        raise Refused(CORRUPT) from None
    return dict(zip(header["masked"], dropped)), moved


def weights_digest(dropped, moved, tensors, base):
    whole = hashlib.sha256()
    for index, (name, _) in enumerate(tensors):
        if index in dropped:
            whole.update(masked(base.floats(name), dropped[index]))
        else:
            whole.update(moved.get(index, base.raw(name)))
    return whole.digest()


def contents(dropped, moved, tensors, digest):
    return {
        "tensors": [
            {"index": i, "name": tensors[i][0], "dropped": sum(bits), "bits": sha256(packed(bits)).hex()}
            for i, bits in dropped.items()
        ],
        "norms": [{"index": i, "name": tensors[i][0], "values": sha256(raw).hex()} for i, raw in moved.items()],
        "weights": digest.hex(),
    }


def told(data, base, parent, prior):
    """What is printed of an artefact."""
    header, dropped, moved = decode(data, base, parent, prior)
    tensors = ARCHITECTURES[header["architecture"]]
    digest = weights_digest(dropped, moved, tensors, base)
    must(digest == header["weights"], "wrong_weights")
    answer = contents(dropped, moved, tensors, digest)
    section = header.get("experts")
    if section is not None:
        answer["experts"] = []
        for promised, bits, statistics in section.experts:
            of_expert = coded(bits, statistics, header, base, dropped, {}, True)
            digest = weights_digest(*of_expert, tensors, base)
            must(digest == promised, "wrong_weights")
            answer["experts"].append(contents(*of_expert, tensors, digest))
        answer["routes"] = [section.expert_of(probe(number, section.length)) for number in range(PROBES)]
        networks = range(len(section.experts) + 1)
        answer["joint"] = section.joint_of([(network, probe(network, section.length)) for network in networks])
    return answer


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("base")
    arguments.add_argument("artefacts", nargs="+")
    arguments.add_argument("--parent")
    arguments.add_argument("--prior")
    given = arguments.parse_args()
    base = Base(given.base)
    refused = 0
    prior, parent = None, None
    for path in given.artefacts:
        try:
            if given.parent and parent is None:
                with open(given.parent, "rb") as file:
                    parent = file.read()
            if given.prior and prior is None:
                prior = read_prior(given.prior)
            with open(path, "rb") as file:
                answer = told(file.read(), base, parent, prior)
        except Refused as error:
            answer, refused = {"error": str(error)}, 1
        print(json.dumps(answer))
    return refused


if __name__ == "__main__":
    sys.exit(main())
