# As much of `from spack.package import *` as the recipe uses. A name that it uses and that is not here fails the test.
import contextlib
import os
import subprocess


def _directive(*_args, **_kwargs):
    pass


depends_on = generator = license = version = _directive


@contextlib.contextmanager
def working_dir(path):
    before = os.getcwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


class Executable:
    def __init__(self, path):
        self.path = str(path)

    def __call__(self, *arguments):
        subprocess.run([self.path, *arguments], check=True)


class CMakePackage:
    def define(self, name, value):
        return f"-D{name}:BOOL={'ON' if value else 'OFF'}" if isinstance(value, bool) else f"-D{name}={value}"

    @property
    def build_directory(self):
        return self.build
