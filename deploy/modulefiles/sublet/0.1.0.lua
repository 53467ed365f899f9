-- As the file 0.1.0 beside this one, for Lmod; where both lie in a MODULEPATH, Lmod takes this one.
help([[libsublet: leases of idle cores and memory beside batch jobs. Compile with `pkg-config --cflags --libs sublet`.]])
whatis("Sublet, client library")
conflict("sublet")

local prefix = os.getenv("SUBLET_PREFIX") or "/opt/sublet/0.1.0"
local libdir = pathJoin(prefix, "lib")
for _, each in ipairs({ "lib64", "lib", "lib/x86_64-linux-gnu" }) do
  if isFile(pathJoin(prefix, each, "libsublet.so.1")) then libdir = pathJoin(prefix, each) end
end

setenv("SUBLET_ROOT", prefix)
prepend_path("CPATH", pathJoin(prefix, "include"))
prepend_path("LIBRARY_PATH", libdir)
prepend_path("LD_LIBRARY_PATH", libdir)
prepend_path("PKG_CONFIG_PATH", pathJoin(libdir, "pkgconfig"))
prepend_path("CMAKE_PREFIX_PATH", prefix)
