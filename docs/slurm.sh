#!/usr/bin/env bash
# Train on two machines of four GPUs each under SLURM: one task per GPU, started by srun.
#   sbatch docs/slurm.sh data.fasta labels.tsv runs/a --set model.preset=base
# --devices must be ntasks-per-node, --num-nodes must be nodes. The folders must be shared. After a
# time limit, submit the same command with --resume: it continues within the epoch.
#SBATCH --job-name=rmt-genomics
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
set -euo pipefail
fasta=$1 labels=$2 out=$3

srun --kill-on-bad-exit=1 rmt-genomics train "$fasta" --labels "$labels" --out "$out" \
  --devices 4 --num-nodes 2 "${@:4}"
