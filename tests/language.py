"""Find retired words in everything a user or a contributor reads: `python -m tests.language [paths]`.

It reads string literals of Python and JavaScript, docstrings, Markdown, HTML and the names of presets, and prints each hit as
`file:line: word → use instead`. `remark_hits` reads the docstrings of tests and the comments of tests and package. Names in code
are not read.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.retired_labels import RETIRED_LABELS
from tests.source import nodes

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Text:
    """A piece of text, where it begins, and its kind: `text`, `docstrings` or `docs`."""

    path: Path
    line: int
    kind: str
    words: str


@dataclass(frozen=True)
class Hit:
    """A retired word in a file."""

    path: Path
    line: int
    kind: str
    word: str
    use: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT).as_posix()}:{self.line}: {self.word} → {self.use}"


# A retired word or phrase (a regular expression; case and line breaks don't matter) and what to use instead.
RETIRED: dict[str, str] = {
    # images and sampling
    r"(small )?pictures?": "image(s), thumbnails",
    r"paint(s|ed|ing|er)?": "generate, sample",
    r"part that (paints|reads)": "denoiser, text encoder",
    r"parts? of the model": "model component",
    r"new words?": "embedding, trigger word, placeholder",
    r"blown up": "upscaled",
    r"mirror(s|ed|ing)?": "flip",
    # the machine
    r"graphics (cards?|memory|processors?)": "GPU, VRAM",
    r"cards?": "GPU",
    r"main memory": "system RAM",
    r"processor cores?": "CPU core",
    r"for want of": "out of, because there is no",
    r"rented machines?": "cloud instance",
    # numbers and weights
    r"number formats?": "data type",
    r"squeez(e|es|ed|ing)": "quantize",
    r"(rounded|round|rounds) at random|random rounding": "stochastic rounding",
    r"(becomes?|is) no number": "becomes NaN, is NaN",
    r"models that learn a flow": "flow-matching models",
    r"models that predict noise": "epsilon- and v-prediction models",
    r"memory of the gradients' size": "second-moment estimate",
    r"draws? of timesteps": "timestep sampling",
    # files and results
    r"finished (files?|models?)": "output file, final model",
    r"on the way": "intermediate, during training",
    r"(write|writes|wrote|written|writing) over": "overwrite",
    r"(from|to|on|of|by|in) the (?-i:hub)": "the Hugging Face Hub",
    r"fetched": "downloaded",
    r"taken over": "imported, copied",
    r"laid aside": "moved aside, renamed",
    # what programs do
    r"told|tells|says": "reports, shows, records",
    r"refus(e|es|ed|ing|al|als)": "reject, isn't allowed, fail with an error",
    r"believe[sd]?": "trust",
    r"(?<!one )(?<!of )pass(es|ed|ing)? over": "ignore, skip",
    r"carr(y|ies|ied|ying) (\S+ ){0,2}out": "run, execute, train",
    r"(go|goes|going|went) on": "continue, resume, is running",
    r"comes? to nothing": "has no effect, is 0",
    r"(can|cannot|could not|not to) be had": "isn't available, can't be downloaded",
    r"signs? of life": "heartbeat",
    r"stands(?! for)|lies|stood": "is, is in, is stored in",
    # turns of phrase
    r"to change:": "a sentence that starts with a verb",
    r"write \d\S*": "set it to …",
    r"the present (?!tense)\w+": "the current …",
    r"at present": "now, currently",
    r"(some|any)body": "someone, anyone",
    r"usual values?": "defaults",
    r"of (its|their|one's|his|your|our|my) own": "its own, separate, custom",
    r"beside": "next to, in addition to",
    r"anew": "again, from scratch",
    r"by hand": "manually",
    r"in words": "as text, human-readable",
    r"so (many|much)": "this many, the given number of",
    r"need not": "doesn't have to",
    r"(left|leave|leaves|leaving) (away|out)": "omit, drop",
    r"(is|are|was|were) (not )?to be": "must be, is",
    r"would have to be": "must be",
    r"the one that": "(name the thing)",
    r"check before the start": "pre-flight check",
    r"when something goes wrong": "Troubleshooting",
    r"\d+ %": "a number and % without a space",
    # house metaphors
    r"ladders?|rungs?": "escalation, step",
    r"keepers?": "supervisor",
    r"house": "(the ordinary word)",
    r"albums?|desks?|shel(f|ves)|lessons?|tenancy|exams?": "(the ordinary word)",
    # British spellings
    r"colour\w*": "color",
    r"grey\w*": "gray",
    r"centre\w*": "center",
    r"favour\w*": "favor",
    r"behaviour\w*": "behavior",
    r"neighbour\w*": "neighbor",
    r"practis\w+": "practice, train on",
    r"licence\w*": "license",
    r"artefact\w*": "artifact",
    r"catalogue\w*": "catalog",
    r"labell\w+": "label",
    r"(normal|initial|optim|synchron|recogn|serial|token|organ|quant|random|maxim|minim)is(e|es|ed|ing|ation)": "-ize",
}

# Only on the page and in docs for users: names in code and REST keep the word, and so do docs about them.
RETIRED_FOR_USERS: dict[str, str] = {
    r"checkouts?": "OneTrainer installation",
}

FOR_DEVELOPERS = re.compile(r"(architecture|api|findings|adding-.*|CHANGELOG|CONTRIBUTING)\.md")

# Phrases that stay, and why. They are removed before a text is searched.
ALLOWED: dict[str, str] = {
    r"watercolor painting": "a picture of that kind",
    r"first( contentful)? paint": "a browser's own term",
    r"done or refused": "outcomes of a command in REST",
    r"a red house": "an example of a prompt",
    r"first paint": "the moment when a browser first shows something",
    r"model cards?": "the Hugging Face Hub's own term",
    r"#?demo - new word LoRA": "former name of a preset; saved drafts name it",
}

EXPRESSION = "{}"  # stands for an embedded expression
EMPTY = re.compile(r"\s+")


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Return one expression that matches any of the words, with a group for each."""
    groups = [f"(?P<w{number}>{word})" for number, word in enumerate(words)]
    return re.compile(rf"(?<![\w\-/.])(?:{'|'.join(groups)})(?![\w/])", re.IGNORECASE)


ALL_WORDS = _pattern(RETIRED)
USER_WORDS = _pattern(RETIRED_FOR_USERS)
LABELS = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(RETIRED_LABELS, key=len, reverse=True)))})(?!\w)")
STAYING = re.compile("|".join(ALLOWED), re.IGNORECASE)


def found(text: Text, *, remark: bool = False) -> Iterator[Hit]:
    """Yield the retired words of a text; a remark in code may contain former labels and words that only users don't see."""
    words = STAYING.sub(EXPRESSION, EMPTY.sub(" ", CODE_OR_LINK.sub(EXPRESSION, text.words)))
    tables = [(ALL_WORDS, RETIRED)]
    if not remark and ("ui" in text.path.parts or (text.kind == "docs" and not FOR_DEVELOPERS.fullmatch(text.path.name))):
        tables.append((USER_WORDS, RETIRED_FOR_USERS))
    for pattern, table in tables:
        replacements = list(table.values())
        for match in pattern.finditer(words):
            number = next(int(name[1:]) for name, value in match.groupdict().items() if value is not None)
            yield Hit(text.path, text.line, text.kind, match[0], replacements[number])
    for match in () if remark else LABELS.finditer(words):
        yield Hit(text.path, text.line, text.kind, match[0], RETIRED_LABELS[match[0]])


def python_texts(path: Path) -> Iterator[Text]:
    """Yield the docstrings and all other strings of a Python file; an f-string is one text."""
    inner: set[int] = set()
    for node in nodes(path):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            for statement in body:
                # the string below a field of a class documents it
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    inner.add(id(statement.value))
                    if isinstance(statement.value.value, str):
                        yield from _paragraphs(path, statement.value.lineno, "docstrings", statement.value.value)
        if isinstance(node, ast.JoinedStr):
            pieces = []
            for value in node.values:
                inner.add(id(value))
                pieces.append(str(value.value) if isinstance(value, ast.Constant) else EXPRESSION)
            yield Text(path, node.lineno, "text", "".join(pieces))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner and _is_text(node.value):
            yield Text(path, node.lineno, "text", node.value)


# a key, a path, a module's name: no spaces, and no capital letter at the beginning of a plain word
IDENTIFIER = re.compile(r"[\w\-]*[_./:#\-][\w\-./:#*]*|[a-z]+")
# what a script shows as a single word in lower case
WORDS_OF_SCRIPTS = {"picture", "pictures", "painted", "painting", "card", "cards"}


def _is_text(string: str) -> bool:
    """Return whether a string is more than a key, a path or a module's name."""
    return not IDENTIFIER.fullmatch(string)


# What can appear in JavaScript where a string may begin; comments and regular expressions are skipped.
SCRIPT = re.compile(
    r"""
    (?P<comment> //[^\n]* | /\*.*?\*/ )
    | (?P<string> '(?:\\.|[^'\\\n])*' | "(?:\\.|[^"\\\n])*" )
    | (?P<regex> (?<=[=(,:!&|?\[{};\n]) \s* /(?![*/]) (?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+ /[a-z]* )
    | (?P<open> ` ) | (?P<brace> [{}] )
    """,
    re.VERBOSE | re.DOTALL,
)
TEMPLATE = re.compile(r"(?P<end>`)|(?P<expression>\$\{)|(?:\\.|[^`\\])", re.DOTALL)


def script_texts(path: Path) -> Iterator[Text]:
    """Yield the string and template literals of a JavaScript file; a template is one text."""
    source = path.read_text("utf-8")
    yield from (
        Text(path, line, "text", words) for line, words in _literals(source) if words in WORDS_OF_SCRIPTS or _is_text(words)
    )


def _literals(source: str) -> Iterator[tuple[int, str]]:
    templates: list[tuple[int, list[str]]] = []  # the open ones: where they begin, and their pieces
    depths: list[int] = []  # open braces inside the expression of each open template
    at = 0
    while match := SCRIPT.search(source, at):
        at = match.end()
        line = source.count("\n", 0, match.start()) + 1
        if match.lastgroup == "string":
            yield line, match["string"][1:-1]
            continue
        if match.lastgroup == "open":
            templates.append((line, []))
            depths.append(0)
        elif match.lastgroup == "brace" and depths:
            depths[-1] += 1 if match["brace"] == "{" else -1
            if depths[-1] >= 0:
                continue
        else:
            continue
        # inside a template, at its beginning or after an expression
        begin, pieces = templates[-1]
        while (piece := TEMPLATE.match(source, at)) and piece.lastgroup is None:
            pieces.append(piece[0])
            at = piece.end()
        if piece is None:
            return
        at = piece.end()
        if piece.lastgroup == "expression":
            pieces.append(EXPRESSION)
            depths[-1] = 0
        else:
            templates.pop()
            depths.pop()
            yield begin, "".join(pieces)


CODE_OR_LINK = re.compile(r"`+[^`]+`+|\]\([^)]*\)|<[^>]*>")


def _paragraphs(path: Path, line: int, kind: str, source: str) -> Iterator[Text]:
    """Yield each paragraph without code spans and targets of links."""
    lines: list[str] = []
    begin = line
    for number, content in enumerate([*source.split("\n"), ""], line):
        # a table's row and a list's item are texts by themselves: a hit then names its line
        if not content.strip() or content.lstrip().startswith(("|", "- ", "#")) or re.match(r"\s*\d+\. ", content):
            if lines:
                yield Text(path, begin, kind, CODE_OR_LINK.sub(EXPRESSION, "\n".join(lines)))
            lines, begin = [], number
        lines.append(content)


TRIPLE = re.compile(r'(?P<quotes>"""|\'\'\')(?P<words>.*?)(?P=quotes)', re.DOTALL)
DOCSTRING_FOLLOWS = re.compile(r"(\A|[^(,\[{=\s]\s*\n)[ \t]*r?\Z")  # not an argument or a value, and alone in its line
COMMENT = re.compile(r"""^(?:[^'"#\n]|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")*?\#\s?(?P<words>.*)$""", re.MULTILINE)


def remark_texts(path: Path, *, docstrings: bool) -> Iterator[Text]:
    """Yield the comments of a Python file, and its docstrings if requested, without parsing the file."""
    source = path.read_text("utf-8")
    if docstrings:
        for match in TRIPLE.finditer(source):
            if DOCSTRING_FOLLOWS.search(source, max(0, match.start() - 200), match.start()) is None:
                continue
            yield Text(path, source.count("\n", 0, match.start()) + 1, "docstrings", match["words"])
    if "#" not in source:
        return
    lines: list[str] = []
    begin = last = 0
    code = TRIPLE.sub(lambda match: "\n" * match[0].count("\n"), source)
    for number, line in enumerate(code.split("\n"), 1):
        match = COMMENT.match(line) if "#" in line else None
        if match is None:
            continue
        if lines and number > last + 1:
            yield Text(path, begin, "comments", " ".join(lines))
            lines = []
        begin, last = (begin if lines else number), number
        lines.append(match["words"])
    if lines:
        yield Text(path, begin, "comments", " ".join(lines))


SCRIPT_COMMENT = re.compile(r"/\*.*?\*/|^\s*//[^\n]*(?:\n\s*//[^\n]*)*|(?<=\s)//\s[^\n]*", re.DOTALL | re.MULTILINE)
CONTINUATION = re.compile(r"\n\s*(//|\*)")


def script_remarks(path: Path) -> Iterator[Text]:
    """Yield the comments of a JavaScript file; adjacent lines are one text."""
    source = path.read_text("utf-8")
    for match in SCRIPT_COMMENT.finditer(source):
        yield Text(path, source.count("\n", 0, match.start()) + 1, "comments", CONTINUATION.sub(" ", match[0]))


def prose_texts(path: Path) -> Iterator[Text]:
    """Yield the paragraphs of a Markdown or HTML file."""
    yield from _paragraphs(path, 1, "docs" if path.suffix == ".md" else "text", path.read_text("utf-8"))


def preset_names(path: Path) -> Iterator[Text]:
    """Yield the name of a preset, which the page shows."""
    yield Text(path, 1, "text", path.stem)


READERS = {".py": python_texts, ".js": script_texts, ".md": prose_texts, ".html": prose_texts, ".json": preset_names}
READ = (
    "onetrainer_gradio",
    "docs",
    "configs",
    "benchmarks",
    "app.py",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
)
NOT_READ = ("vendor", "model", "__pycache__")


def files(places: tuple[str, ...] = READ) -> Iterator[Path]:
    """Yield every file that is read below the given places."""
    for place in places:
        top = ROOT / place
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.suffix not in READERS or set(path.parts) & set(NOT_READ):
                continue
            if path.suffix != ".json" or "configs" in path.parts:
                yield path


def hits(places: tuple[str, ...] = READ) -> list[Hit]:
    """Return every retired word below the given places."""
    return [hit for path in files(places) for text in READERS[path.suffix](path) for hit in found(text)]


# Stand-ins with OneTrainer's own names, files of earlier versions, and the lists of retired words themselves.
NOT_READ_IN_TESTS = {"fixtures", "retired_labels.py", "language.py", "test_language.py"}


def remark_hits() -> list[Hit]:
    """Return every retired word in docstrings of tests and in comments of tests, package and scripts."""
    texts = [remark_texts(path, docstrings=False) for path in sorted((ROOT / "onetrainer_gradio").rglob("*.py"))]
    texts += [
        remark_texts(path, docstrings=True)
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if not NOT_READ_IN_TESTS & set(path.parts)
    ]
    texts += [
        script_remarks(path)
        for place in ("onetrainer_gradio/ui/assets", "tests/js")
        for path in sorted((ROOT / place).rglob("*.js"))
        if "vendor" not in path.parts
    ]
    page_words = {"card", "cards"}  # those of the page, and model cards
    return [hit for each in texts for text in each for hit in found(text, remark=True) if hit.word.lower() not in page_words]


def main() -> int:
    """Print every retired word in the given files and folders, or in the whole project."""
    all_hits = hits(tuple(sys.argv[1:]) or READ)
    for hit in all_hits:
        print(hit)
    print(f"{len(all_hits)} retired words")
    return 1 if all_hits else 0


if __name__ == "__main__":
    sys.exit(main())
