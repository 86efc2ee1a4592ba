#!/bin/sh
# How long does memory last? The experiment with the command line only.
#
#     sh benchmarks/command_line.sh FOLDER [order|two_facts]     (order by default; 20 minutes on one thread)
#
# Trains on sequences of 256 to 1,024 bp (at most 8 segments) and evaluates on sequences of 65,536 bp.
set -eu
out=$1
task=${2:-order}
here=$(dirname "$0")
mkdir -p "$out"
printf 'record\tlabel\n' > "$out/train.tsv"
for length in 256 512 1024; do
    rmt-genomics simulate --task "$task" --length $length --distance 0 --number 4000 \
        --seed $length --out "$out/$length"
    sed "s/^>/>${length}_/" "$out/$length/sequences.fasta" >> "$out/train.fasta"
    sed "1d; s/^/${length}_/" "$out/$length/labels.tsv" >> "$out/train.tsv"
done
rmt-genomics train "$out/train.fasta" --labels "$out/train.tsv" --out "$out/run" \
    --config "$here/configs/motifs.toml"
rmt-genomics simulate --task "$task" --length 65536 --number 100 --seed 999 --out "$out/long"
rmt-genomics evaluate "$out/run" "$out/long/sequences.fasta" --labels "$out/long/labels.tsv" \
    --out "$out/judged"
