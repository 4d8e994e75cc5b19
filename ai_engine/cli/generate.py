"""`generate`: pictures to meshes, without a service or at one. The models are loaded once for all pictures.

The paths of the files go to standard output, one a line; everything else to standard error. A picture that can't be
used does not end the others.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from ai_engine.cli.endings import (
    EXIT_FAILED,
    EXIT_NOT_PRINTABLE,
    EXIT_OK,
    EXIT_USAGE,
    UsageError,
    code_of,
    run_interruptibly,
    sentence,
)
from ai_engine.cli.engines import add_server_flags, engine_of, key_of
from ai_engine.cli.field_flags import GENERATE_FIELDS, add_field_flags, fields_of
from ai_engine.cli.outputs import Outputs, add_output_flags
from ai_engine.cli.progress_bars import StageBars
from ai_engine.cli.sources import Source, Sources, is_folder
from ai_engine.engine.engine import Engine
from ai_engine.engine.generated import Generated
from ai_engine.errors import StartupError
from ai_engine.facts import VIEWS, ViewName
from ai_engine.settings import Settings, read_settings
from ai_engine.weights.first_use import find_wished, with_weights

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
Exit status: 0 all done, 1 some failed, 2 usage, 3 not printable, 78 a setting, model or device can't be used,
130 interrupted."""


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
    add_server_flags(parser)
    parser.add_argument(
        "--accept-licence", action="store_true", help="agree to the licence of weights that are fetched"
    )
    add_field_flags(parser, GENERATE_FIELDS)


def run_generate(options: argparse.Namespace) -> int:
    """Makes the meshes; the exit status."""
    return run_interruptibly(lambda: _generate(options))


def _generate(options: argparse.Namespace) -> int:
    try:
        fields = fields_of(options, GENERATE_FIELDS)
        _check_inputs(options)
        outputs = Outputs.of(options.out, options.format, is_single=_is_single(options))
        if options.mask is not None:
            fields["mask"] = options.mask
        with _open_engine(options, fields) as engine:
            return _Command(options, engine, outputs, fields).run()
    except (UsageError, ValueError) as error:
        print(f"ai-engine generate: {sentence(error)}", file=sys.stderr)
        return EXIT_USAGE


def _open_engine(options: argparse.Namespace, fields: dict[str, Any]) -> Engine:
    """What makes the meshes; the name of a model whose weights it brings leaves `fields`.

    Raises:
        UsageError: flags of a service and of this process are mixed.
        ValueError: a value makes no sense.
        StartupError: a setting can't be used, or weights can't be had.
    """
    if options.server is not None:
        if options.accept_licence:
            raise UsageError("--accept-licence is of weights that are fetched here, not of a service's")
        return engine_of(options)
    key_of(options)
    return Engine(settings=_settings(fields, accept_licence=options.accept_licence))


def _settings(fields: dict[str, Any], *, accept_licence: bool) -> Settings:
    """The settings of the environment, with the weights of the published model that is named; it leaves `fields`.

    Raises:
        StartupError, ValueError: as `read_settings`, `find_wished` and `with_weights`.
    """
    settings = read_settings()
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
    if options.watch and not any(map(is_folder, options.pictures)):
        raise UsageError("--watch is of folders")
    if options.mask is not None and (_views(options) or not _is_single(options)):
        raise UsageError("--mask is of one picture")


def _is_single(options: argparse.Namespace) -> bool:
    return bool(_views(options)) or (len(options.pictures) == 1 and not is_folder(options.pictures[0]))


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
        pictures, views = self.options.pictures, _views(self.options)
        found = False
        for source in Sources(pictures, views, self._fail, is_watching=self.options.watch):
            found = True
            try:
                self._make(source)
            except (ValidationError, StartupError, BrokenPipeError):
                raise  # So it would be with every picture.
            except Exception as error:  # of any kind, our own faults too: the other pictures go on
                self._fail(source, error)
        if not self.codes:
            if not found:
                print(f"{', '.join(pictures)}: no pictures there", file=sys.stderr)
            return EXIT_OK
        return EXIT_NOT_PRINTABLE if set(self.codes) == {"not_printable"} else EXIT_FAILED

    def _make(self, source: Source) -> None:
        if self.names.setdefault(source.stem, source.name) != source.name:
            raise ValueError(f"its mesh would overwrite that of {self.names[source.stem]}")
        paths = self.outputs.paths(source.stem)
        if self.options.skip_existing and paths and all(path.exists() for path in paths):
            return
        self.outputs.make_folders(source.stem)
        begun_s = time.monotonic()
        wished = self.fields | {"format": self.outputs.formats[0], "name": source.stem}
        made = self.engine.generate(source.picture, progress=self.bars.show, **wished)
        self.outputs.write(source.stem, made.bytes_as)
        paths += self.outputs.write_gcode(source.stem, made.gcode)
        made.release()  # Here, where an interruption is heard: in what the collector calls it is not.
        self.bars.close()
        seconds = time.monotonic() - begun_s
        print(_line(source, made, seconds), file=sys.stderr)
        if self.options.json:
            self._print_json(source, files=[str(path) for path in paths], **_facts(made))
        else:
            _print_paths(paths, sys.stdout)

    def _fail(self, source: Source, error: Exception) -> None:
        self.bars.close()
        code, detail = code_of(error), sentence(error, about=source.name)
        self.codes.append(code)
        print(f"{source.name}: {detail}", file=sys.stderr)
        if self.options.json:
            self._print_json(source, error={"code": code, "detail": detail})

    def _print_json(self, source: Source, **facts: Any) -> None:
        stream = sys.stderr if self.outputs.is_stdout else sys.stdout
        print(json.dumps({"picture": source.name} | facts), file=stream, flush=True)


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
