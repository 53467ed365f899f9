# phases.py RECIPE SOURCE BUILD PREFIX: the phases of Spack's CMakePackage: cmake, build, install.
import os
import pathlib
import runpy
import shutil
import subprocess
import sys
import types

recipe, source, build, prefix = sys.argv[1:]
package = runpy.run_path(recipe)["Sublet"]()
package.build = build
package.prefix = prefix
os.makedirs(build)
subprocess.run(
    ["cmake", "-S", source, "-B", build, "-G", "Ninja", f"-DCMAKE_INSTALL_PREFIX:STRING={prefix}",
     "-DCMAKE_BUILD_TYPE:STRING=Release", *package.cmake_args()],
    check=True,
)
subprocess.run(["ninja", "-C", build, "-j", "2", *package.build_targets], check=True)
cmake = types.SimpleNamespace(prefix=types.SimpleNamespace(bin=types.SimpleNamespace(cmake=shutil.which("cmake"))))
package.install({"cmake": cmake}, pathlib.Path(prefix))
variables = {}
package.setup_run_environment(types.SimpleNamespace(set=variables.__setitem__))
assert variables == {"SUBLET_ROOT": prefix}, variables
