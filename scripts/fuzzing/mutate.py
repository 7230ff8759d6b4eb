"""Mutations of files: of what a YAML or JSON document holds, of its text, and of its bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import yaml

NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2, 3, 0.5, 1e-12, 1e-300, 1e12, 1e30, 1e300, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, -0.0, 5e-324),
    *(float("nan"), float("inf"), float("-inf"), True, False),
)
TEXTS: tuple[str, ...] = (
    *("", " ", "a", "b", "gpu0", "gpu", "layer", "layer.0.attn", "0", "null", "~", "yes", "nan", ".inf", "1e999"),
    *("1 ms", "-1 s", "1 GiB", "80 GB/s", "3 TFLOPS", "1e400 GB", "1 parsec", "training", "inference", "comm", "base"),
    *("é", "名前", "\u202e", "\x00", "\x1b[31m", "a\nb", "a\tb", "\U0001f600", "../x", "/", "-", "--help", "a" * 5000),
    *(
        "{}",
        "[]",
        "*",
        "&a",
        "!!int",
        "%s",
        "{0}",
        "$(x)",
        "<script>",
        "'",
        '"',
        "\\",
        "\ufeff",
        "\u2028",
        "1_000",
        "0x10",
    ),
)


def pool(random: Random) -> Any:
    """Any scalar or small container."""
    kind = random.random()
    if kind < 0.4:
        return random.choice(NUMBERS)
    if kind < 0.75:
        return random.choice(TEXTS)
    if kind < 0.82:
        return None
    return random.choice([[], {}, [None], [[]], {"a": 1}, {"": None}, [1, "a"], {"forward": -1}, [{}]])


def spots(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a document with each of its keys; a mutation may have put a container into itself."""
    stack, seen = [tree], set()
    while stack:
        each = stack.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        keys = list(each) if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else ()
        for key in keys:
            yield each, key
            stack.append(each[key])


def mutate_tree(tree: Any, random: Random) -> Any:
    """The document with one thing changed: dropped, doubled, renamed, retyped, swapped, scaled."""
    places = list(spots(tree))
    if not places:
        return pool(random)
    where, key = random.choice(places)
    value = where[key]
    if random.random() < 0.5:  # what may well be valid
        numbers = [(each, name) for each, name in places if type(each[name]) in (int, float)]
        if numbers and random.random() < 0.7:
            where, key = random.choice(numbers)
            # A cluster of thousands of devices takes its time, and is no mistake.
            factor = random.choice([0, 2, 3, 10] if isinstance(where[key], int) else [0.5, 2, 1000, 1e-9, 1 + 1e-7])
            where[key] = round(where[key] * factor) if isinstance(where[key], int) else where[key] * factor
        else:
            del where[key]
        return tree
    act = random.randrange(10)
    if act == 0:
        del where[key]
    elif act == 1 and isinstance(where, list):
        where.insert(random.randrange(len(where) + 1), value)
    elif act == 2 and isinstance(where, dict):
        names = [name for each, name in places if isinstance(name, str)]
        where[random.choice([*names, str(key) + "x", *TEXTS[:6]])] = where.pop(key)
    elif act == 3:
        other, place = random.choice(places)
        where[key], other[place] = other[place], value
    elif act == 4 and isinstance(value, int | float) and not isinstance(value, bool):
        where[key] = random.choice([-value, value * 1e300, f"{value} ms", f"{value} GB", str(value), [value]])
    elif act == 5 and isinstance(value, str):
        where[key] = random.choice([value * 2, value[:-1], value + " ", value.upper(), value + "0", [value]])
    elif act == 6:
        where[key] = random.choice(places)[0] if random.random() < 0.2 else str(value)[:50]
    elif act == 7 and isinstance(where, list):
        random.shuffle(where)
    else:
        where[key] = pool(random)
    return tree


def mutate_text(text: str, random: Random) -> str:
    """The text with a line or a word changed, or with what YAML and JSON have beside data."""
    lines = text.split("\n")
    k = random.randrange(len(lines))
    acts: list[Callable[[], str]] = [
        lambda: "\n".join([*lines[:k], *lines[k + 1 :]]),
        lambda: "\n".join([*lines[: k + 1], *lines[k:]]),
        lambda: text[: random.randrange(len(text) + 1)],
        lambda: "\n".join([*lines[:k], lines[k].replace(": ", ": &x ", 1), *lines[k + 1 :], "more: *x"]),
        lambda: text.replace(
            ": ", f": {random.choice(['!!python/object:os.system ', '!!binary ', '!x ', '!!str '])}", 1
        ),
        lambda: "\n".join([*lines[:k], "---", *lines[k:]]),
        lambda: text.replace("\n", "\r\n"),
        lambda: "\n".join([*lines[:k], "\t" + lines[k], *lines[k + 1 :]]),
        lambda: "x: &a [1, *a]\n" + text,
        lambda: "x: &a {<<: *b}\n" + text,
        lambda: "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else '1'] * 9)}]\n" for i in range(9)) + text,
        lambda: text + "\n" + random.choice(["{", "]", "- a", "name: again", "? x", "\x00", "...", "'", "# end"]),
        lambda: "[" * 3000 + text,
        lambda: '{"a":' * 3000 + text,
        lambda: text.replace(random.choice(text.split() or [""]), random.choice(TEXTS), 1),
        lambda: text.replace("1", random.choice(["NaN", "-1", "1" * 400, "1e999", "Infinity", "0x1", "1_0", "١"]), 1),
        lambda: "",
        lambda: "# only a comment\n",
        lambda: "null",
    ]
    return random.choice(acts)()


def mutate_bytes(content: bytes, random: Random) -> bytes:
    """The bytes with some changed, cut or in another encoding."""
    k = random.randrange(len(content) + 1)
    acts: list[Callable[[], bytes]] = [
        lambda: content[:k],
        lambda: content[:k] + bytes([random.randrange(256)]) + content[k + 1 :],
        lambda: content[:k] + bytes(random.randrange(256) for _ in range(4)) + content[k:],
        lambda: content.decode("utf-8", "replace").encode("utf-16"),
        lambda: b"\xef\xbb\xbf" + content,
        lambda: content[:k] + b"\x00" + content[k:],
        lambda: content[:k] + b"\xff\xfe" + content[k:],
        lambda: content[:k] + "é".encode("latin-1") + content[k:],
        lambda: b"\x1f\x8b" + content,
        lambda: content * 2,
    ]
    return random.choice(acts)()


def mutated(name: str, text: str, random: Random) -> bytes:
    """A file with one to three mutations."""
    kind = random.random()
    if kind < 0.65 and name.endswith((".yaml", ".json")):
        tree = yaml.safe_load(text) if name.endswith(".yaml") else json.loads(text)
        for _ in range(random.choice([1, 1, 1, 2, 3])):
            tree = mutate_tree(tree, random)
        try:
            text = (
                yaml.safe_dump(tree, allow_unicode=True, sort_keys=False)
                if name.endswith(".yaml")
                else json.dumps(tree)
            )
            return text.encode("utf-8")
        except (RecursionError, ValueError, TypeError, yaml.YAMLError):
            return mutate_bytes(text.encode("utf-8"), random)
    if kind < 0.88:
        return mutate_text(text, random).encode("utf-8", "surrogatepass")
    return mutate_bytes(text.encode("utf-8"), random)
