"""`generate`: pictures to meshes, without a service or at one. The models are loaded once for all pictures.

The paths of the files go to standard output, one a line; everything else to standard error. A picture that can't be
used does not end the others.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from ai_engine.cli.field_flags import GENERATE_FIELDS, add_field_flags, fields_of
from ai_engine.cli.interrupts import EXIT_INTERRUPTED, sigterm_interrupts
from ai_engine.cli.outputs import (
    EXIT_FAILED,
    EXIT_NOT_PRINTABLE,
    EXIT_OK,
    EXIT_USAGE,
    Outputs,
    UsageError,
    add_output_flags,
    stem_of,
)
from ai_engine.cli.progress_bars import StageBars
from ai_engine.engine.engine import Engine
from ai_engine.engine.generated import Generated, GenerationFailed, ServerRefused
from ai_engine.errors import JobError, StartupError
from ai_engine.facts import VIEWS, ViewName
from ai_engine.images.data_url import is_data_url
from ai_engine.settings import Settings
from ai_engine.weights.first_use import find_wished, with_weights

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif"})
LOOK_EVERY_S = 1.0
KEY_VARIABLE = "AI_ENGINE_KEY"
EXAMPLES = """examples:
  ai-engine generate chair.png                                        chair.stl
  ai-engine generate chair.png -o chair.3mf --height-mm 80 --seed 7
  ai-engine generate orders/ -o meshes/ --format 3mf --format glb --skip-existing --watch
  ai-engine generate --front f.png --left l.png -o toy.3mf            for models that take several views
  cat chair.png | ai-engine generate - -o - --format glb > chair.glb
  ai-engine generate chair.png --model triposg                        published weights, fetched on first use
  ai-engine generate chair.png --server https://mesh.example.com      the same, over the API

The models are those of the settings (MODEL_PATH, DEVICE, ...; docs/settings.md), the embedded ones unless they are set.
--model, or MODEL_PATH, may be a published model's name (fetch-weights --help): its weights are fetched into models/
once their size and licence were shown; never with HF_HUB_OFFLINE=1.
Exit status: 0 all done, 1 some failed, 2 usage, 3 not printable, 130 interrupted."""


@dataclass(frozen=True)
class Source:
    """One picture of the command line."""

    name: str
    """As it is called in messages."""
    stem: str
    """As its mesh is called."""
    picture: str | Path | bytes | dict[ViewName, str]


def add_generate(parser: argparse.ArgumentParser) -> None:
    """The flags of `generate`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument(
        "pictures", nargs="*", metavar="PICTURE", help="file, folder, URL, or - for standard input"
    )
    for view in VIEWS:
        parser.add_argument(f"--{view}", metavar="FILE", help=f"{view} view of one object, a file or URL")
    add_output_flags(parser)
    parser.add_argument("--mask", metavar="FILE", help="your own mask of the one picture: a file or URL")
    parser.add_argument(
        "--skip-existing", action="store_true", help="leave out pictures whose meshes are there"
    )
    parser.add_argument("--watch", action="store_true", help="go on with pictures that come into the folders")
    parser.add_argument(
        "--json", action="store_true", help="a line of JSON for each picture on standard output"
    )
    parser.add_argument("--server", metavar="URL", help="run the jobs at this service")
    parser.add_argument("--key", metavar="KEY", help=f"API key at the service ({KEY_VARIABLE})")
    parser.add_argument(
        "--accept-licence", action="store_true", help="agree to the licence of weights that are fetched"
    )
    add_field_flags(parser, GENERATE_FIELDS)


def run_generate(options: argparse.Namespace) -> int:
    """Makes the meshes; the exit status."""
    try:
        fields = fields_of(options, GENERATE_FIELDS)
        _check_inputs(options)
        outputs = Outputs.of(options.out, options.format, is_single=_is_single(options))
        if options.mask is not None:
            if not _is_single(options):
                raise UsageError("--mask is of one picture")
            fields["mask"] = options.mask
        settings = None if options.server else _settings(fields, accept_licence=options.accept_licence)
        key = options.key or os.environ.get(KEY_VARIABLE)
        with sigterm_interrupts(), Engine(options.server, key=key, settings=settings) as engine:
            return _Command(options, engine, outputs, fields).run()
    except (UsageError, ValueError) as error:
        print(f"ai-engine generate: {_sentence(error)}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _settings(fields: dict[str, Any], *, accept_licence: bool) -> Settings:
    """The settings of the environment, with the weights of the published model that is named; it leaves `fields`.

    Raises:
        StartupError, ValueError: as `find_wished` and `with_weights`.
    """
    settings = Settings()
    model = find_wished(fields.get("model"), settings)
    if model is None:
        return settings
    fields.pop("model", None)
    return with_weights(model, settings, accept_licence=accept_licence, may_ask=True)


def _views(options: argparse.Namespace) -> dict[ViewName, str]:
    return {view: getattr(options, view) for view in VIEWS if getattr(options, view) is not None}


def _check_inputs(options: argparse.Namespace) -> None:
    """Refuses a command line that names no picture, or one picture and views of another."""
    if bool(options.pictures) == bool(_views(options)):
        raise UsageError(f"name pictures, or views of one object by --{', --'.join(VIEWS)}")


def _is_single(options: argparse.Namespace) -> bool:
    return bool(_views(options)) or (len(options.pictures) == 1 and not Path(options.pictures[0]).is_dir())


class _Command:
    """One run over all pictures."""

    def __init__(
        self, options: argparse.Namespace, engine: Engine, outputs: Outputs, fields: dict[str, Any]
    ) -> None:
        self.options, self.engine, self.outputs, self.fields = options, engine, outputs, fields
        self.codes: list[str] = []
        """Of the failures."""
        self.names: dict[str, str] = {}
        """Of the pictures that were done, by what their meshes are called."""
        self.bars = StageBars(sys.stderr)

    def run(self) -> int:
        """Every picture; the exit status."""
        for source in self._sources():
            try:
                self._make(source)
            except (ValidationError, StartupError):
                raise  # So it would be with every picture.
            except Exception as error:  # of any kind, our own faults too: the other pictures go on
                self._fail(source, error)
        if not self.codes:
            return EXIT_OK
        return EXIT_NOT_PRINTABLE if set(self.codes) == {"not_printable"} else EXIT_FAILED

    def _sources(self) -> Iterator[Source]:
        if views := _views(self.options):
            name = next(iter(views.values()))
            yield Source(name, stem_of(name), views)
        seen: set[Path] = set()
        for argument in self.options.pictures:
            yield from _sources_of(argument, seen)
        folders = [Path(argument) for argument in self.options.pictures if Path(argument).is_dir()]
        while self.options.watch and folders:
            time.sleep(LOOK_EVERY_S)
            for folder in folders:
                yield from _pictures_in(folder, seen, settled_s=LOOK_EVERY_S)

    def _make(self, source: Source) -> None:
        if self.names.setdefault(source.stem, source.name) != source.name:
            raise ValueError(f"its mesh would overwrite that of {self.names[source.stem]}")
        paths = self.outputs.paths(source.stem)
        if self.options.skip_existing and paths and all(path.exists() for path in paths):
            return
        begun_s = time.monotonic()
        wished = self.fields | {"format": self.outputs.formats[0], "name": source.stem}
        made = self.engine.generate(source.picture, progress=self.bars.show, **wished)
        self.outputs.write(source.stem, made.bytes_as)
        paths += self.outputs.write_gcode(source.stem, made.gcode)
        self.bars.close()
        seconds = time.monotonic() - begun_s
        print(_line(source, made, seconds), file=sys.stderr)
        if self.options.json:
            self._print_json(source, files=[str(path) for path in paths], **_facts(made))
        else:
            _print_paths(paths, sys.stdout)

    def _fail(self, source: Source, error: Exception) -> None:
        self.bars.close()
        code = _code(error)
        self.codes.append(code)
        print(f"{source.name}: {_sentence(error)}", file=sys.stderr)
        if self.options.json:
            self._print_json(source, error={"code": code, "detail": _sentence(error)})

    def _print_json(self, source: Source, **facts: Any) -> None:
        stream = sys.stderr if self.outputs.is_stdout else sys.stdout
        print(json.dumps({"picture": source.name} | facts), file=stream, flush=True)


def _sources_of(argument: str, seen: set[Path]) -> Iterator[Source]:
    """The pictures that one argument names."""
    if argument == "-":
        yield Source("standard input", "mesh", sys.stdin.buffer.read())
    elif is_data_url(argument):
        yield Source("data URL", "mesh", argument)
    elif argument.lower().startswith(("http://", "https://")):
        yield Source(argument, stem_of(argument), argument)
    elif Path(argument).is_dir():
        yield from _pictures_in(Path(argument), seen)
    else:
        yield Source(argument, stem_of(argument), Path(argument))


def _pictures_in(folder: Path, seen: set[Path], settled_s: float = 0.0) -> Iterator[Source]:
    """The pictures of a folder that were not seen yet, by name; while watching, those that are no longer written."""
    paths = [path for path in sorted(folder.iterdir()) if _is_picture(path)]
    stems = Counter(path.stem for path in paths)
    for path in paths:
        if path not in seen and time.time() - path.stat().st_mtime >= settled_s:
            seen.add(path)
            yield Source(str(path), path.stem if stems[path.stem] == 1 else path.name, path)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _facts(made: Generated) -> dict[str, Any]:
    return {
        "seed": made.seed,
        "model": made.model,
        "timings_s": made.timings_s,
        "faces": made.facts.faces,
        "units": made.facts.units,
        "report": asdict(made.report),
    }


def _line(source: Source, made: Generated, seconds: float) -> str:
    """One line about a mesh."""
    report = made.report
    size = " x ".join(f"{side:.4g}" for side in made.facts.bbox)
    unit = "mm" if made.facts.units == "mm" else "model units"
    state = "printable" if report.printable else f"NOT PRINTABLE: {' '.join(report.warnings)}"
    return (
        f"{source.name}: {made.facts.faces:,} faces, {'closed' if report.watertight else 'open'}, "
        f"{size} {unit}, {state}; seed {made.seed}, {seconds:.1f} s"
    )


def _print_paths(paths: Sequence[Path], stream: TextIO) -> None:
    for path in paths:
        print(path, file=stream, flush=True)


def _code(error: Exception) -> str:
    """Of a job's failure its own; `internal` where the fault is ours."""
    if isinstance(error, GenerationFailed):
        return error.failure.code
    if isinstance(error, JobError):
        return error.code
    return "failed" if isinstance(error, ServerRefused | OSError | ValueError) else "internal"


def _sentence(error: Exception) -> str:
    """What went wrong, in one line for the person at the terminal."""
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_input=False)
        return "; ".join(
            f"--{'.'.join(map(str, one['loc'])).replace('_', '-')}: {one['msg']}" for one in found
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}" if _code(error) == "internal" else str(error)
