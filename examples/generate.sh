#!/usr/bin/env bash
# A picture to a mesh file, with bash and curl.
#
#     examples/generate.sh PICTURE [MESH [FIELD=VALUE...]]
#     examples/generate.sh chair.png chair.stl quality=high height_mm=80
#     examples/generate.sh --front chair.png --left chair-left.png [--back ...] [--right ...] [MESH [FIELD=VALUE...]]
#
# PICTURE is a file (PNG, JPEG, WebP, AVIF) or a URL, MESH the file that is written (mesh.stl). Several views of one
# object need a model that takes them; they are all files, or all URLs. In the environment:
#     ENGINE_URL        where AI Engine listens (http://127.0.0.1:8000)
#     ENGINE_API_KEY    where it asks for keys
#     WITHIN_S          seconds to wait for the mesh (1800)
set -euo pipefail

usage="usage: generate.sh PICTURE|--front PICTURE [--left ...] [MESH [FIELD=VALUE...]]"
pictures=()
while [[ ${1:-} =~ ^--(front|left|back|right)$ ]]; do
    pictures+=("${1#--}" "${2:?$usage}")
    shift 2
done
if ((${#pictures[@]} == 0)); then
    pictures=(image "${1:?$usage}")
    shift
fi
mesh=${1:-mesh.stl}
engine=${ENGINE_URL:-http://127.0.0.1:8000}

fail() {
    echo "$1" >&2
    exit 1
}

# What the service answers; its own words when it refuses.
ask() {
    local answer
    answer=$(curl --silent --show-error --fail-with-body \
        ${ENGINE_API_KEY:+--header "Authorization: Bearer $ENGINE_API_KEY"} "$@") ||
        fail "refused: $(text_of detail "$answer") $(text_of code "$answer")"
    printf '%s' "$answer"
}

# The first text, or the first number, of this name in a JSON document.
text_of() { [[ $2 =~ \"$1\":\ *\"([^\"]*)\" ]] && printf '%s' "${BASH_REMATCH[1]}" || true; }
number_of() { [[ $2 =~ \"$1\":\ *([0-9.]+) ]] && printf '%s' "${BASH_REMATCH[1]}" || true; }

sha256_of() { if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1; }

name=${mesh##*/}
form=(--form-string session_id=shell --form-string "asset_id=${name//[^A-Za-z0-9._-]/-}")
urls=
for ((at = 0; at < ${#pictures[@]}; at += 2)); do
    part=${pictures[at]} picture=${pictures[at + 1]}
    if [[ $picture =~ ^https?: ]]; then
        urls+=${urls:+,}\"$part\":\"$picture\"
    else
        [[ -r $picture ]] || fail "no such picture: $picture"
        form+=(--form "$part=@\"$picture\"")
    fi
done
if [[ $urls && ${pictures[0]} == image ]]; then
    form+=(--form-string "image_url=${pictures[1]}")
elif [[ $urls ]]; then
    form+=(--form-string "image_urls={$urls}")
fi
for field in "${@:2}"; do form+=(--form-string "$field"); done
accepted=$(ask "${form[@]}" "$engine/generate-3d")
job=$engine$(text_of status_url "$accepted")

status=queued
while [[ $status == queued || $status == running ]]; do
    ((SECONDS < ${WITHIN_S:-1800})) || fail "not done after $SECONDS s; it goes on: $job"
    sleep 1
    seen=$(ask "$job")
    status=$(text_of status "$seen")
    echo "$status $(text_of stage "$seen") $(number_of progress "$seen")" >&2
done
[[ $status == succeeded ]] || fail "$status: $(text_of detail "$seen") $(text_of code "$seen")"

# The file's ETag is its sha256; what is there under the mesh's name has passed.
ask --dump-header "$mesh.headers" --output "$mesh.part" "$job/mesh"
expected=$(sed -n 's/^[Ee][Tt][Aa][Gg]: *"\([0-9a-f]*\)".*/\1/p' "$mesh.headers")
rm "$mesh.headers"
[[ $(sha256_of "$mesh.part") == "$expected" ]] || fail "the file is damaged: $mesh.part"
mv "$mesh.part" "$mesh"
echo "$mesh"
