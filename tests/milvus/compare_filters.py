"""Filters: what a real Milvus makes of them, beside our own meaning. Use: scripts/check-milvus filter [SEED [EXPRESSIONS]]

Starts Milvus 2.3.5, lets build/tests/store/compare_filters put the same random records into it and ask it random expressions,
and explains every difference row by row: for each kind of difference there is a small model of what Milvus does, and only a
row for which the model gives Milvus's answer counts as explained. A joined expression must be what its two conditions are,
joined. What Milvus refuses is sorted by its own words. docs/filter.md has the list; anything beyond it is a failure.
"""
import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from conftest import Milvus  # noqa: E402
from support import BUILD  # noqa: E402

RECORDS = 200
MISSING = object()

# What Milvus 2.3 does not have, by the words with which it refuses. Patterns of its sentences → ours, as in docs/filter.md.
REFUSALS = [
    (r"is not supported in execution backend", "a computed value or a length compared by < <= > >="),
    (r"comparisons between Array, .* and JSON", "a list on the left of a comparison"),
    (r"can not comparisons jsonField directly", "the whole of brief as a value"),
    (r"unsupported pattern", "like with % elsewhere than at the end"),
    (r"'\[\]'|',\[\]'|'[<>=!]=?\[\]'", "an empty list beside something else than in"),
    (r"is (not )?null", "is null, is not null"),
    (r"kArrayVal in expression|can not comparisons array fields directly", "the whole of tags in a list"),
    (r"unsupported right datatype ARRAY", "tags compared with tags"),
    (r"Assert \"\(value_proto.val_case\(\)", "a list or a range of several types: 1 and 2.5, 1 and \"a\""),
    (r"parsing \"9223372036854775808\"", "the lowest integer, -9223372036854775808"),
    (r"invalid UTF-8", "text that is not UTF-8"),
    (r"a division by -1 can end a Milvus", "a division by -1 (refused by us: it can end Milvus)"),
]


def path_value(text, record):
    """The value in brief at the path that the condition names, or MISSING."""
    value = record["brief"]
    path = re.search(r"""brief((?:\[[^\]]*\])*)""", text)
    for key in re.findall(r"""\[["']?(.*?)["']?\]""", path[1]):
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return MISSING
    return value


def field_value(text, record):
    tag = re.match(r"\W*tags\[(\d+)\]", text)
    if tag:
        index = int(tag[1])
        return record["tags"][index] if index < len(record["tags"]) else MISSING
    if "brief" in text:
        return path_value(text, record)
    return record["itemid"] if "itemid" in text else record["record"] if "fileid" in text else MISSING


def like_of_23(text, value):
    """like of release 2.3: % at the end means a prefix, everything else is taken as it stands."""
    pattern = json.loads('"' + re.search(r'like "(.*)"$', text)[1].replace("\\x", "\\u00") + '"')
    if not isinstance(value, str):
        return False
    if pattern == "" or pattern.endswith("%"):
        return value.startswith(pattern.rstrip("%") if pattern.strip("%") == "" else pattern[:-1])
    return value == pattern


def numbers_in(value):
    if isinstance(value, list):
        return [n for v in value for n in numbers_in(v)]
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def why(text, record, theirs):
    """Why Milvus 2.3 says `theirs` of this record, and we the opposite; None: not known."""
    value = field_value(text, record)
    if text.startswith("exists"):
        return "exists: null counts as there" if theirs and value is None else None
    if " like " in text:
        return "like: only % at the end is a wildcard, \"\" is a prefix of all" if like_of_23(text, value) == theirs else None
    if text.startswith("array_length(tags["):
        same = len(record["tags"]) == int(text.split()[-1])
        return "array_length of a tag: that of all tags" if theirs == (same == (" == " in text)) else None
    if text.startswith("array_length"):
        counted = text.endswith(" == 0") if theirs else " != " in text
        return "array_length of what is no list: 0, and != is false" if counted and not isinstance(value, list) else None
    if " % " in text:
        odd = isinstance(value, float) or (isinstance(value, int) and abs(value) > 2 ** 53)
        return "% of a fraction, or of an integer beyond 2^53" if odd else None
    if "contains" in text:
        floats = isinstance(value, list) and any(isinstance(n, float) for n in numbers_in(value))
        return "contains: 5 does not find 5.0 in a list" if not theirs and floats else None
    if re.search(r"!= \[|\] != ", text):
        return "!= a list, of what is no list: false" if not theirs and not isinstance(value, list) else None
    return None


def refusal(reason):
    for pattern, name in REFUSALS:
        if re.search(pattern, reason):
            return name
    return None


def joined(expression, parts, everything):
    a, b = (set(parts[n]["theirs"]) for n in expression["parts"])
    return {"and": a & b, "or": a | b, "not": everything - a, "and not": a - b}[expression["how"]]


def explain(lines):
    """→ counts by kind, refusals by kind, what is not explained."""
    records, accepted = {}, []
    kinds, refusals, unknown = collections.Counter(), collections.Counter(), []
    for line in lines:
        if "record" in line:
            records[line["record"]] = line
        elif "refused" in line:
            name = refusal(line["refused"])
            refusals[name] += 1
            if not name:
                unknown.append(f"{line['text']}: refused: {line['refused'][-300:]}")
        else:
            accepted.append(line)
    everything = set(records)
    for line in accepted:
        ours, theirs = set(line["ours"]), set(line["theirs"])
        if "parts" in line:
            if theirs != joined(line, accepted, everything):
                unknown.append(f"{line['text']}: not what its parts are")
            elif ours != theirs:
                kinds["joined, of conditions that differ"] += 1
            continue
        found = {why(line["text"], records[r], r in theirs) for r in ours ^ theirs}
        kinds.update(found - {None})
        if None in found:
            rows = [r for r in sorted(ours ^ theirs) if why(line["text"], records[r], r in theirs) is None]
            unknown.append(f"{line['text']}: records {rows[:5]}: {json.dumps(records[rows[0]], ensure_ascii=False)[:400]}")
    return accepted, kinds, refusals, unknown


def main(seed="2026", expressions="2000"):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lookalike-filters-"))
    milvus = Milvus(folder)
    try:
        milvus.start()
        done = subprocess.run([BUILD / "tests" / "store" / "compare_filters", seed, str(RECORDS), expressions], text=True,
                              capture_output=True, timeout=1800, env=os.environ | {"LOOKALIKE_TEST_MILVUS": milvus.address})
    finally:
        milvus.kill()
        shutil.rmtree(folder, ignore_errors=True)
    if done.returncode:
        sys.exit(f"{done.stderr}\n{done.stdout[-1000:]}")
    accepted, kinds, refusals, unknown = explain(map(json.loads, done.stdout.splitlines()))
    same = sum(line["ours"] == line["theirs"] for line in accepted)
    print(f"{len(accepted)} expressions that Milvus 2.3.5 has, on {RECORDS} records: {same} with the same rows, {len(accepted) - same} explained or not:")
    for name, count in kinds.most_common():
        print(f"  {count:5d}  {name}")
    print(f"{sum(refusals.values())} more that it refuses:")
    for name, count in refusals.most_common():
        print(f"  {count:5d}  {name or 'NOT EXPLAINED'}")
    for line in unknown[:20]:
        print("NOT EXPLAINED", line)
    sys.exit(1 if unknown or len(accepted) < int(expressions) else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
