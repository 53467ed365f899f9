#!/usr/bin/env bash
# The packages as files: built twice in different folders for the same bytes, clean for lintian, within their size, and
# complete (every module that is installed can be loaded, on a compute node without the controller's too); rpms of the same files. Ends with "N passed, N failed".
# shellcheck disable=SC2016 # what node and bash -c get expands there
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck disable=SC2034 # for steps.sh
log=$work/log
# shellcheck source=test/steps.sh
. test/steps.sh

one "packages build" bash deploy/package/build.sh
one "again, elsewhere, later, with another umask and zone" \
  bash -c 'umask 077; TZ=Asia/Tokyo LC_ALL=C bash deploy/package/build.sh --into "$1"' build "$work/there"
same() {
  for package in build/packages/*.deb; do
    cmp "$package" "$work/there/$(basename "$package")" || return 1
  done
}
one "both times the same bytes" same

# A page that is not written yet is no fault of the packaging.
suppressed=()
for page in sublet.1 sublet-agent.8 sublet-controller.8; do
  if [ ! -e "deploy/man/$page" ]; then suppressed=(--suppress-tags no-manual-page); echo "skipped: $page is not in deploy/man"; fi
done
one "lintian" lintian --no-cfg --allow-root --fail-on error,warning "${suppressed[@]}" build/packages/*.deb

root=$work/root
for package in build/packages/*.deb; do dpkg-deb -x "$package" "$root"; done
installed() { for package; do dpkg-deb -f build/packages/"$package"_*.deb Installed-Size; done | paste -sd+ | bc; }
for package in build/packages/*.deb; do
  printf '%9s KiB installed  %s\n' "$(dpkg-deb -f "$package" Installed-Size)" "$(basename "$package")"
done
total=$(installed sublet-runtime sublet-agent)
echo "a compute node: $((total * 1024 / 1000000)) MB"
one "runtime and agent take at most 90 MB" [ "$((total * 1024))" -le 90000000 ]

node=$root/usr/lib/sublet/bin/node
load='import { readdirSync } from "node:fs";
let count = 0;
for (const folder of ["src", "agent"])
  for (const file of readdirSync(`${process.argv[1]}/${folder}`, { recursive: true }))
    if (file.endsWith(".js") && !file.includes("node_modules") && !/^(controller|pilot)\/main\.js$|^main\.js$|-worker\.js$/.test(file)) {
      await import(`${process.argv[1]}/${folder}/${file}`);
      count++;
    }
console.log(`${count} modules`);
process.exit(count > 100 ? 0 : 1);'
# Programs of their own and what begins a thread are not.
loads() { "$node" --disable-warning=ExperimentalWarning --input-type=module -e "$load" "$1/usr/lib/sublet"; }
one "every module loads" loads "$root"
one "the accounting finds MariaDB's driver" "$node" -e 'require("node:module").createRequire(process.argv[1])("mysql2/promise").createConnection.call' \
  "$root/usr/lib/sublet/src/accounting/db/mariadb.js"
compute=$work/compute
for package in sublet-runtime sublet-agent sublet; do dpkg-deb -x build/packages/"$package"_*.deb "$compute"; done
one "every module of a compute node loads" loads "$compute"
one "its command ends with its version" bash -c 'cd "$1" && bin/node src/cli/main.cjs --version' version "$compute/usr/lib/sublet"
world='const far = new Date(Date.UTC(2026, 6, 1)).toLocaleString("en-US", { timeZone: "Asia/Tokyo" });
if (far !== "7/1/2026, 9:00:00 AM") throw new Error(far);
if ((1234567.5).toLocaleString() !== "1,234,567.5") throw new Error("numbers");
if (["ä", "b", "a"].sort(new Intl.Collator("de").compare).join("") !== "aäb") throw new Error("order");
if (!/^\p{Lu}$/u.test("Ä") || "ﬁ".normalize("NFKC") !== "fi" || "ß".toUpperCase() !== "SS") throw new Error("characters");
if (new TextDecoder("utf-16le").decode(Buffer.from("61e4", "latin1")) === "") throw new Error("decoder");'
one "the trimmed Node knows time zones, numbers and characters" "$node" -e "$world"
day='const { Days } = await import(`${process.argv[1]}/usr/lib/sublet/src/common/days.js`);
const said = new Days("Europe/Stockholm").clockAt(Date.UTC(2026, 10, 24, 23));
if (said !== "2026-11-25 00:00:00") throw new Error(said);'
one "and days, as the accounting names them" "$node" --input-type=module -e "$day" "$root"
one "daemons end with their version" bash -c 'cd "$1" && for main in agent/daemon.js src/controller/main.js src/cli/main.cjs; do bin/node $main --version; done' versions "$root/usr/lib/sublet"

# The spec is read here by Debian's rpmbuild, so that it has the same files: what is in folders of Debian's own, and pages, apart.
one "rpms build" bash deploy/rpm/build.sh --nodeps
ours() { grep -E '^/(etc/sublet|usr/s?bin|usr/lib/(sublet|systemd|sysusers.d|tmpfiles.d))/' | sort; }
same_files() {
  find "$root" ! -type d -printf '/%P\n' | sed 's,^/lib/systemd,/usr/lib/systemd,' | ours > "$work/debian"
  for package in build/rpm/RPMS/*/*.rpm; do rpm -qpl "$package" || return 1; done | ours > "$work/rpm"
  # Folders that rpms own are listed, too.
  comm -13 "$work/debian" "$work/rpm" | while IFS= read -r path; do [ -d "$root$path" ] || echo "$path"; done > "$work/more"
  comm -23 "$work/debian" "$work/rpm" | diff - "$work/more"
}
one "rpms have the files of the Debian packages" same_files
ended
