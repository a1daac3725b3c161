"""What names a number in a title: digits, numerals, and number words of seven languages, Chinese, Japanese and Korean.

Counting goes from "one" (where that is no article) to "million", with ordinals up to "tenth" in English, halves, pairs
and multiples. Compounds are told by their beginning or end: "zweitürig", "fourfold", "fünfundzwanzig".
"""

from __future__ import annotations

import re
import unicodedata

from trainer.augmentation.words import UNSPACED

_WORDS = """
zero one ones two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds thousand thousands million
first second third fourth fifth sixth seventh eighth ninth tenth once twice thrice half halves quarter quarters
single singles double doubles triple triples quadruple quintuple sextuple twin twins duo trio quartet pair pairs couple
dozen dozens both

null eins vier acht neun zehn elf zwanzig dreißig dreissig hundert tausend million einzeln einzelne einzelnes doppelt
doppelte doppeltes halb halbe halbes viertel paar dutzend beide beiden

deux trois quatre cinq sept huit neuf dix onze douze treize quatorze quinze seize vingt trente quarante cinquante
soixante cent cents mille demi demie paire douzaine

uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince veinte veinticinco treinta cuarenta
cincuenta sesenta setenta ochenta noventa cien ciento cientos quinientos mil millón doble cuádruple medio par pares
docena ambos

due tre quattro cinque sei sette otto dieci undici dodici tredici quattordici quindici sedici diciassette diciotto
diciannove venti trenta quaranta cinquanta sessanta settanta ottanta novanta cento doppio doppia triplo tripla mezzo
paio coppia dozzina

dois duas três sete oito nove dez doze treze dezesseis dezessete dezoito dezenove vinte trinta quarenta cinquenta
sessenta oitenta cem duplo dupla meio dúzia ambas

twee drie vijf zes zeven negen tien twaalf dertien veertien vijftien zestien zeventien achttien negentien twintig
dertig veertig vijftig zestig zeventig tachtig negentig honderd duizend enkel enkele dubbel dubbele paar dozijn

하나 한 둘 두 셋 세 넷 네 다섯 여섯 일곱 여덟 아홉 열 쌍
"""
NUMBER_WORDS = frozenset(_WORDS.split())
_COMPOUND = re.compile(
    r"(?:zwei|drei|vier|fünf|sechs|sieben|zwölf|two|three|four|five|seven|eight|quadrup|dieci|veinti)"
    r"|(?:sech|sieb|acht|neun)zig|(?:acht|neun|zehn)fach|(?:six|nine|ten)fold"
    r"|.+(?:undzwanzig|und(?:drei|vier|fünf|sech|sieb|acht|neun)[zß]ig|hundert|hundred|tausend|thousand)$"
)
_COUNTING = frozenset("两兩俩倆仨双雙单單半")
"""Characters that count and that Unicode gives no number."""
_PART = rf"[^\W_{UNSPACED}]*\d[^\W_{UNSPACED}]*"
_NUMBER = re.compile(rf"{_PART}(?:[.,:/×*-]{_PART})*")


def numbers(text: str) -> list[str]:
    """Tokens with digits, with what joins them.

    >>> numbers("Table 120x60, 1.5 m")
    ['120x60', '1.5']
    """
    return _NUMBER.findall(unicodedata.normalize("NFKC", text).casefold())


def says_number(word: str) -> bool:
    """Whether a word, or a character of a script without spaces, is a numeral or names a number.

    >>> [word for word in ("drawers", "twenty", "zweitürig", "三", "两") if says_number(word)]
    ['twenty', 'zweitürig', '三', '两']
    """
    own = word.casefold()
    return (
        own in NUMBER_WORDS
        or _COMPOUND.match(own) is not None
        or any(letter.isnumeric() or letter in _COUNTING for letter in own)
    )
