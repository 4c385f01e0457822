"""The rules find what they forbid: every planted violation below is reported, and clean files are not."""
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import arrows  # noqa: E402
import sources  # noqa: E402
import words  # noqa: E402

UNFINISHED = "TO" + "DO"
# (rule, path, text, part of the expected message; None when the file is fine)
PLANTED = [
    (arrows, "engine/train/a.cpp", '#include "data/pack/reader.h"\n', "engine/ may include"),
    (arrows, "engine/core/a.h", '#include "kernels/table.h"\n', "nothing of ours"),
    (arrows, "engine/tensor/a.h", '#include "engine/ops/b.h"\n', "arrows run from ops to tensor"),
    (arrows, "engine/ops/d.h", '#include "engine/tensor/c.h"\n', None),
    (arrows, "engine/plumbing/a.h", '#include "engine/core/check.h"\n', "engine's rooms are"),
    (arrows, "kernels/cpu/a.cpp", '#include "engine/tensor/tensor.h"\n', "kernels/cpu/ may include engine/core/"),
    (arrows, "kernels/cuda/a.cpp", '#include "kernels/cpu/kernels.h"\n', "kernels/cuda/ may include"),
    (arrows, "kernels/a.cpp", '#include "kernels/cpu/kernels.h"\n', "kernels/ may include"),
    (arrows, "kernels/math/a.h", '#include "kernels/table.h"\n', "kernels/math/ may include"),
    (arrows, "data/pack/a.cpp", '#include "data/pipe/loader.h"\n', "arrows run from pipe to pack"),
    (arrows, "engine/nn/a.cpp", "#include <mpi.h>\n", "only engine/dist/, data/h5/ may"),
    (arrows, "engine/dist/a.cpp", "#include <mpi.h>\n", None),
    (arrows, "data/image/a.cpp", "#include <boost/any.hpp>\n", "only launch/cli/, tests/support/emulator/ may"),
    (arrows, "data/image/b.cpp", '#include "data/image/gone.h"\n', "no such file"),
    (arrows, "data/image/loop.h", '#include "data/image/pool.h"\n', None),
    (arrows, "data/image/pool.h", '#include "data/image/loop.h"\n', "which includes it"),
    (words, "data/a.cpp", "int a;\n", "first line says"),
    (words, "data/long.cpp", "// Long.\n" + "\n" * 400, "at most 400"),
    (words, "data/l.h", "// The loss (des" + "ign: model).\n#pragma once\n", "name a page of docs/"),
    (words, "data/b.cpp", f"// B.\n// {UNFINISHED}: more\n", "unfinished"),
    (words, "data/c.cpp", "// C.\n#ifdef X\n#endif\n", "no conditional compilation"),
    (words, "kernels/c.cpp", "// C.\n#ifdef X\n#endif\n", None),
    (words, "data/d.cpp", "// D.\nauto r = std::mt19937(1);\n", "philox"),
    (words, "data/e.cpp", "// E.\nvoid f() { exit(1); }\n", "only main"),
    (words, "data/f.cpp", "// F.\nvoid f() { std::cout << 1; }\n", "log.h"),
    (words, "data/g.h", "// G.\n", "#pragma once"),
    (words, "data/h.cpp", "// H.\nauto j = nlohmann::json::parse(text);\n", "engine/core/json.h"),
    (words, "data/i.cpp", "// I.\nout << value->dump(2);\n", "engine/core/json.h"),
    (words, "data/j.cpp", "// J.\nout << value.dump(2);\n", "engine/core/json.h"),
    (words, "data/k.cpp", "// K.\n#include <fmt/ostream.h>\n", "fmt::format"),
    (words, "docs/a.md", "see /wo" + "rk/main\n", "no paths of one machine"),
    (words, "docs/b.md", "bytes / worker, and docs/home/x\n", None),
]


def main():
    failures = []
    for rule, path, text, expected in PLANTED:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            # what planted includes may point at
            for base in ("engine/core/check.h", "engine/tensor/c.h", "engine/ops/b.h", "data/image/loop.h", "data/image/pool.h"):
                (root / base).parent.mkdir(parents=True, exist_ok=True)
                (root / base).write_text("// Base.\n#pragma once\n")
            if path == "data/image/pool.h":
                (root / "data/image/loop.h").write_text('// Base.\n#pragma once\n#include "data/image/pool.h"\n')
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
            sources._includes.clear()
            found = rule.violations(root)
            if expected is None and found:
                failures.append(f"{path}: is fine, but: {found}")
            elif expected is not None and not any(expected in v for v in found):
                failures.append(f"{path}: expected '{expected}', got {found}")
    sources._includes.clear()
    sources.finish("rules_test", len(PLANTED), failures)


if __name__ == "__main__":
    main()
