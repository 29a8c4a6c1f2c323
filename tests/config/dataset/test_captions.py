"""Text files are decoded with their actual encoding, line by line."""

import pytest

from onetrainer_gradio.config.dataset.captions import UnreadableTextError, decode_text, read_text, split_lines

WORDS = "a café in Zürich, “quoted” – 5 €"
LONG = {
    "cp1251": "красная кошка сидит на окне и смотрит на улицу, рядом стоит стол с чашкой чая",
    "cp1252": "une photographie d'un café à Genève, été, lumière dorée, très détaillée",
    "shift_jis": "赤い猫が窓のそばに座っている、外は雨が降っています、部屋は暗いです",
    "gb18030": "一只红色的猫坐在窗边，外面正在下雨，房间里很暗，桌子上有一杯茶",
}


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "cp1252"],
)
def test_a_caption_is_the_same_in_every_encoding(encoding):
    """A byte order mark is not part of the text."""
    assert decode_text(WORDS.encode(encoding)).content == WORDS


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(
    "text",
    [
        "красный круг, кот",
        "ελληνικά γάτα",
        "빨간 원",
        "赤い円、猫, 1girl, solo\n二行目",
        "赤い円、猫",
        "قط أحمر",
        "a cat 😀",
        "a\u2028b\x85c\x0bd\x0ce\x1cf\x1dg\x1eh",
    ],
)
def test_wide_letters_are_recognized_without_a_mark(text, encoding):
    """This holds for every script, also where zero bytes are rare."""
    assert decode_text(text.encode(encoding)) == (text, encoding)


def test_a_word_of_wide_letters_without_a_zero_is_recognized():
    """Its bytes are valid UTF-8, but they are control characters."""
    for text in ("кот", "коты"):
        for encoding in ("utf-16-le", "utf-16-be"):
            assert decode_text(text.encode(encoding)) == (text, encoding)
    assert decode_text(b"a \x1b[1mcat\x01").content == "a \x1b[1mcat\x01"


@pytest.mark.slow
@pytest.mark.parametrize("text", ["żółw, łódź", "Škoda, žluťoučký kůň, ďábel"])
def test_letters_of_one_byte_are_never_read_as_wide_ones(text):
    """A central European text is not decoded as Korean."""
    assert "utf" not in decode_text(text.encode("iso8859-2")).encoding


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_a_mark_alone_is_an_empty_text(mark):
    """Nothing remains after the byte order mark."""
    assert decode_text(mark).content == ""
    assert decode_text(b"").content == ""


@pytest.mark.parametrize("encoding", list(LONG))
def test_other_encodings_are_detected(encoding):
    """Letter frequencies decide."""
    assert decode_text(LONG[encoding].encode(encoding)).content == LONG[encoding]


@pytest.mark.parametrize(
    "text", ["caf\xe9", "\xfcber", "\xe9t\xe9, \xe0 la mer", "na\xefve \x96 \x93x\x94".encode("latin-1").decode("cp1252")]
)
def test_short_captions_are_western(text):
    """They are too short for statistics."""
    found = decode_text(text.encode("cp1252"))
    assert (found.content, found.encoding) == (text, "windows-1252")


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xfe\x00", b"a\0b\0c", b"cat\0", bytes(64)])
def test_what_is_no_text_is_rejected(data):
    """Text with zero bytes is never trained on."""
    with pytest.raises(UnreadableTextError):
        decode_text(data)


def test_lines_end_at_line_ends_only():
    """Other characters that Unicode calls line breaks are part of a caption."""
    text = "one\r\ntwo\rthree\nfour\u2028five\u2029six\x85seven\x0beight\x0cnine\x1c\x1d\x1eten"
    assert split_lines(text) == ["one", "two", "three", text[text.index("four") :]]


def test_lines_that_are_blank_are_no_captions(tmp_path):
    """The other lines are stripped."""
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\n\r\n  two \t\n\n".encode())
    assert read_text(tmp_path / "a.txt").lines == ("one", "two")


def test_the_marks_of_joined_files_are_no_part_of_a_caption(tmp_path):
    """Such files come from two editors, or from ``cat`` of several files."""
    (tmp_path / "a.txt").write_bytes("\ufeff\ufeffone\n\ufeff two\n\ufeff\n".encode())
    assert read_text(tmp_path / "a.txt").lines == ("one", "two")
