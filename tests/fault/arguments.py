"""Wrong values of settings, wrong settings files, and wrong command lines, for the corpus."""

from tests.fault import mutations
from tests.fault.valid_files import TRAIN

VALUES = (
    "",
    "x",
    "-1",
    "0",
    "1e400",
    "nan",
    "inf",
    "true",
    "null",
    "[]",
    "[1, 2]",
    "[[]]",
    "{}",
    "{a=1}",
    "1979-05-27",
    mutations.DIGITS,
    "9" * 30,
    "1.5",
    "-0.0",
    "[" * 2000,
    '"\\u001b[31m"',
    "'a\tb'",
    "1_000",
    "0x10",
    "1\n2",
    '"',
    "é",
    "\udcff",
    "a\0b",
    "1000000000",
)
"""Of any setting."""

TOML = (
    "model = 1",
    "[model]\ndim = {}",
    "[model.dim]\na = 1",
    "[[model]]\ndim = 8",
    "[model]\ndim = 8\ndim = 8",
    "[model]\n[model]",
    "[data]\ngroup = 5",
    '[data]\ngroup = "\\u0000"',
    '[data]\ngroup = ""',
    "[training]\nlearning_rate = 1e400",
    "[training]\nlearning_rate = nan",
    f"[model]\ndim = {mutations.DIGITS}",
    "[curriculum]\nsegments = [1, 1]",
    "[curriculum]\nsegments = [[1]]",
    "[model]\nwide_k = [0]",
    "[model]\nwide_k = [99999999]",
    "[model]\nfeatures = [0]",
    '[model]\nfeatures = ["wide:0-99999999"]',
    '[model]\nfeatures = ["kmer:2"]\nwide_k = []',
    "a = " + "[" * 3000,
    "a" + ".a" * 3000 + " = 1",
    "[" + "a." * 3000 + "a]",
    "x = 2020-13-45",
    '[model]\n"\\u001b" = 1',
    "\x1b[31m = 1",
    "[model]\ndim = 0x",
    "[model]\ndim = 8 dim = 9",
    "[]",
    "[model",
    "= 1",
    "[model]\ndim = '''",
    '[training]\nbatch_size = "many"',
    '[model]\npreset = "\\n"',
)
"""Settings files."""

ARGUMENTS = """\
predict nowhere toy.fa
predict toy.fa toy.fa
predict run nowhere.fa
predict run run
predict run .
predict run toy.fa --out .
predict run toy.fa --out nowhere/out.tsv
predict run toy.fa --out toy.fa
predict run toy.fa --out toy.fa --overwrite
predict run toy.fa --out toy.fa/x.tsv
predict run toy.fa --window 0
predict run toy.fa --window 99999999999999999999
predict run toy.fa --window $DIGITS
predict run toy.fa --window 9223372036854775807
predict run toy.fa --step 5
predict run toy.fa --window 5 --step 6
predict run toy.fa --coverage nan
predict run toy.fa --coverage 1e400
predict run toy.fa --abstain-below nan
predict run toy.fa --class rich
predict run toy.fa --format bedgraph --class x
predict run toy.fa --format bed
predict run toy.fa --shard 1/2
predict run toy.fa --shard 0/2 --out x
predict run toy.fa --shard ²/² --out x
predict run toy.fa --shard 1/$DIGITS --out x
predict run toy.fa --shard 3/2 --out x
predict run toy.fa --resume
predict run toy.fa toy.fa
predict run toy.fa --out x --processes 0
predict run toy.fa --intervals toy.fa
predict run toy.fa --intervals run
predict run toy.fa --intervals nowhere
predict run toy.fa --device cuda
predict run toy.fa --device mps
predict run toy.fa --out $LONG_300
predict run toy.fa --out $DEEP
predict run $LONG_300
inspect $LONG_300
predict $LONG_5000 toy.fa
predict run toy.fa --out a\x00b
predict run a\x00b
predict a\x00b toy.fa
inspect a\x00b
inspect a\udcffb
predict a\udcffb toy.fa
predict run toy.fa --out a\udcffb.tsv
predict run a\x1bb
inspect toy.fa --labels a\x00b
inspect toy.fa --labels nowhere
inspect toy.fa --labels run
inspect toy.fa --labels .
inspect toy.fa --labels header --label-pattern (
inspect toy.fa --labels header --label-pattern (a)(b)
inspect toy.fa --labels header --label-pattern a
inspect toy.fa --labels header --label-pattern (a*)*b
inspect toy.fa --labels header --label-pattern (.*)
inspect toy.fa $LABELS --label-pattern (a)
inspect toy.fa --labels column
inspect toy.fa --labels folder
inspect toy.fa --labels file
inspect toy.fa --plot nowhere/x.png
inspect toy.fa --plot x.pdf
inspect toy.fa $LABELS --config run
inspect toy.fa $LABELS --config a\x00b
inspect
inspect ''
inspect -
$NOTHING
split toy.fa $LABELS --out .
split toy.fa $LABELS --out toy.fa
split toy.fa $LABELS --out labels.tsv --overwrite
split toy.fa $LABELS --out x --fractions nan,nan,nan
split toy.fa $LABELS --out x --fractions 1e400,0,0
split toy.fa $LABELS --out x --fractions 0.8,0.1
split toy.fa $LABELS --out x --seed 99999999999
split toy.fa $LABELS --out x --by column
split toy.fa $LABELS --out x --by group
split toy.fa $LABELS --out x --task regression
split toy.fa $LABELS --out x --by record
split toy.fa $LABELS --out x --clusters run
embed run toy.fa --out x.txt
embed run toy.fa --out nowhere/x.npy
embed run toy.fa --out run
embed run toy.fa --window 99999999999999999999
embed run toy.fa --intervals toy.fa
evaluate run toy.fa --labels nowhere --out x
evaluate run toy.fa $LABELS --out run
evaluate run toy.fa $LABELS --out toy.fa
evaluate run two.fasta $LABELS --out x
evaluate nowhere toy.fa $LABELS --out x
compare nowhere
compare run run
compare toy.fa
compare .
compare a\x00b
compare run a\x1bb
join nowhere
join toy.fa
join run
join shards/1
join shards/1 shards/1
join shards/1 shards/2 --out shards/1 --overwrite
join shards/2 shards/2 shards/1
join a\x00b
simulate --task memorise --length 1 --out x
simulate --task detect --length 99999999999999999999 --number 1 --out x
simulate --task order --length 100 --distance 99999999999999999999 --out x
simulate --task order --length 100 --motif-length 65 --out x
simulate --task two_facts --length 100 --number 1 --background nowhere --out x
simulate --task two_facts --length 1000 --number 1 --background toy.fa --out x
simulate --task memorise --length 100 --out toy.fa
simulate --task memorise --length 100 --out run
simulate --task mosaic --length 100 --out x
simulate --task mosaic --length 100 --genomes nowhere --out x
simulate --task mosaic --length 99999999999999999999 --genomes toy.fa --out x
simulate --task mosaic --length 8 --genomes toy.fa --groups labels.tsv --out x
simulate --task mosaic --length 8 --genomes toy.fa --groups toy.fa --out x
simulate --task order --length 100 --genomes toy.fa --out x
$TRAIN --out run
$TRAIN --out toy.fa
$TRAIN --out x --resume
$TRAIN --out run --resume --overwrite
$TRAIN --out x --config nowhere
$TRAIN --out x --batch-size 0
$TRAIN --out x --batch-size many
$TRAIN --out x --device cuda
$TRAIN --out a\x00b
$TRAIN --out toy.fa/x
$TRAIN --out stopped --resume --set training.max_epochs=1
$TRAIN --out stopped --resume --set model.dim=16
$TRAIN --out x --set model.dim=1000000000
$TRAIN --out x --set model.dim=1000000 --set model.heads=1
$TRAIN --out x --set model.num_memory_tokens=1000000000
$TRAIN --out x --set model.depth=1000000000
$TRAIN --out x --set tokenizer.kind=kmer --set tokenizer.k=1000000000
$TRAIN --out x --set model.stem_width=999999999 --set model.dim=8
$TRAIN --out x --set model.segment_length=1000000000 $TINY
$TRAIN --out x --set training.learning_rate=1e300 $TINY --set model.depth=1
$TRAIN --out x --set curriculum.segments=[1000000000] --set curriculum.shorten=prefix $TINY
plan nowhere
plan toy.fa --labels nowhere
plan toy.fa --set model.dim=1000000000
plan toy.fa --label-pattern x
plan two.csv --labels column --batch-size auto --set model.dim=1000000
plan two.csv --set training.batch_size=auto --set model.dim=1000000 --set model.heads=1
demo --out toy.fa
demo --out run
nothing
--nothing
-q -v inspect toy.fa
predict --nothing
train
"""
"""Command lines, one a line; ``LONG_WORDS`` has what stands for ``$`` and a name."""

LONG_WORDS = {
    "$TRAIN": TRAIN,
    "$TINY": "--set model.dim=8 --set model.heads=2 --set training.max_epochs=1",
    "$LABELS": "--labels labels.tsv",
    "$DIGITS": mutations.DIGITS,
    "$DEEP": "x/" * 3000,
    "$LONG_5000": "x" * 5000,
    "$LONG_300": "x" * 300,
    "$NOTHING": "",
}
