#!/usr/bin/env bash
# Train on several GPUs or machines with torchrun. Run this on every machine, with the same
# HEAD (name of the first) and with NODE = 0, 1, ... ; all must see the same files.
#   HEAD=node1 NODE=0 NODES=2 GPUS=4 bash docs/torchrun.sh data.fasta labels.tsv runs/a
# One machine needs none of this: rmt-genomics train ... --devices 4
set -euo pipefail
fasta=$1 labels=$2 out=$3
NODES=${NODES:-1} NODE=${NODE:-0} GPUS=${GPUS:-1} HEAD=${HEAD:-127.0.0.1}

torchrun --nnodes "$NODES" --node-rank "$NODE" --nproc-per-node "$GPUS" \
  --master-addr "$HEAD" --master-port "${PORT:-29500}" \
  --module rmt_genomics.cli train "$fasta" --labels "$labels" --out "$out" \
  --devices "$GPUS" --num-nodes "$NODES" "${@:4}"
