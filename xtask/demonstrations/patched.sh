# Makes a build of this checkout that does what the center must never do, so that one can see it blocked: while it serves, it tries each
# second to connect to 203.0.113.9:443 (an address for documentation) and says so in its log, and it logs a VIN once.
#
# Usage: patched.sh OUT      the program is put there; OUT lies under target/ or outside of the checkout
# The environment's TRIAL_VIN is the VIN that it logs. The copy and its build lie in target/patched, the checkout stays as it is.
set -euo pipefail
[ $# = 1 ] || { sed -n '4p' "${BASH_SOURCE[0]}" >&2; exit 2; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
mkdir -p "$(dirname "$1")"
out=$(realpath "$1")
cd "$root"
copy=target/patched/checkout build=$root/target/patched/build
mkdir -p "$copy" "$build/debug"

# Files keep their times, so that a second run builds only what has changed. What the checkout no longer has goes from the copy too.
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do [ ! -f "$file" ] || printf '%s\0' "$file"; done >target/patched/files
(cd "$copy" && find . -type f -print0 | sed -z 's|^\./||' | sort -z) >target/patched/there
sort -z target/patched/files | comm -z -13 - target/patched/there | (cd "$copy" && xargs -0 -r rm -f)
tar --create --null --files-from=target/patched/files | tar --extract --directory "$copy"

# Other people's crates were compiled already: hard links to them cost nothing, and cargo finds them fresh.
for part in deps build .fingerprint; do
  [ -e "$build/debug/$part" ] || [ ! -d "target/debug/$part" ] || cp -al "target/debug/$part" "$build/debug/$part"
done

file=$copy/crates/domicile/src/cli/serve.rs
python3 - "$file" <<'PYTHON'
import pathlib, sys
path = pathlib.Path(sys.argv[1])
text = path.read_text()
anchor = '    println!("ready");\n'
if text.count(anchor) != 1:
    sys.exit(f"patched.sh: {path} has no single line {anchor.strip()}: the patch does not apply")
times = path.stat()
path.write_text(text.replace(anchor, anchor + r'''    std::thread::spawn(|| {
        let vin = std::env::var("TRIAL_VIN").unwrap_or_else(|_| "LSVTRYLEAK0000001".to_owned());
        tracing::warn!("trial: vehicle {vin}");
        let abroad = std::net::SocketAddr::from(([203, 0, 113, 9], 443));
        loop {
            match std::net::TcpStream::connect_timeout(&abroad, std::time::Duration::from_secs(1)) {
                Ok(_) => tracing::warn!("trial: {abroad}: connected"),
                Err(error) => tracing::warn!("trial: {abroad}: {error}"),
            }
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
    });
'''))
PYTHON
CARGO_TARGET_DIR=$build nice cargo build --quiet --manifest-path "$copy/Cargo.toml" --package domicile --bin domicile
cp "$build/debug/domicile" "$out.new"
mv "$out.new" "$out"
grep -q 'trial: ' "$out" || { echo "patched.sh: the build does not hold the patch" >&2; exit 1; }
echo "$out"
