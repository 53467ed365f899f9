# The client library libsublet, for programs and jobs. Daemons and the starter are the system's packages, not Spack's: they run
# as root, once on each node. An older libsublet speaks to a newer agent (docs/upgrade.md).
#
#   spack repo add SUBLET_SOURCES/deploy/spack
#   spack dev-build sublet@main            (in the sources), or, where `git` below is your mirror: spack install sublet
from spack.package import *


class Sublet(CMakePackage):
    """Leases of idle cores and memory beside batch jobs of Slurm: client library."""

    homepage = "https://sublet.invalid"
    git = "https://sublet.invalid/sublet.git"

    license("Apache-2.0")

    version("main", branch="main")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("cmake@3.25:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    # protoc-c makes the frames of the agent's socket.
    depends_on("protobuf-c", type=("build", "link"))
    # Headers only: the library loads libfabric when a fabric is used.
    depends_on("libfabric", type=("build", "run"))
    # The build describes the executor, too, though nothing of it is built here.
    depends_on("libseccomp", type="build")

    generator("ninja")

    def cmake_args(self):
        # A compiler or an optimization that warns of something else is no reason to end a site's build.
        return [self.define("SUBLET_TESTS", False), self.define("SUBLET_WERROR", False)]

    @property
    def build_targets(self):
        return ["sublet", "sublet_static"]

    def install(self, spec, prefix):
        # The whole tree's `install` would want all that this package does not build.
        with working_dir(self.build_directory):
            cmake = Executable(spec["cmake"].prefix.bin.cmake)
            cmake("-P", "functions/client/cmake_install.cmake")

    def setup_run_environment(self, env):
        env.set("SUBLET_ROOT", self.prefix)
