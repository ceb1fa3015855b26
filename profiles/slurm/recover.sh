#!/usr/bin/env bash
# After Snakemake itself was killed (SIGKILL, a login node that went down): its jobs still run, and a new run would start
# them a second time on the same files. Run this in the workflow's folder: it cancels the jobs of this folder, waits until
# they are gone, and unlocks the folder. Finished parts of shards stay.
#   --list  print the ids of these jobs and do nothing
set -euo pipefail
folder=$(pwd -P)
orphans() {
    # Own jobs, named by slurm-jobname-prefix of profile.yaml, that were submitted from this folder.
    squeue --noheader --user "$(id -un)" --format '%A|%j|%Z' |
        awk -F '|' -v folder="$folder" '$2 ~ /^where-to-listen_/ && $3 == folder {print $1}'
}
if [ "${1:-}" = --list ]; then
    orphans
    exit
fi
orphans | xargs --no-run-if-empty scancel
while [ -n "$(orphans)" ]; do
    sleep 1
done
snakemake --snakefile "$(dirname "$0")/../../Snakefile" --unlock
