# Settings for mpirun on the machine at hand. Source it: source scripts/environment.sh
#
# A variable that is set already stays as it is.

# Open MPI refuses root unless told twice; containers and test machines have no other user.
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT="${OMPI_ALLOW_RUN_AS_ROOT:-1}"
  export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="${OMPI_ALLOW_RUN_AS_ROOT_CONFIRM:-1}"
fi

# More ranks than cores are allowed, and a rank that waits lets others run. With a core for each rank, waiting ranks answer
# sooner without: OMPI_MCA_mpi_yield_when_idle=0.
export OMPI_MCA_rmaps_base_oversubscribe="${OMPI_MCA_rmaps_base_oversubscribe:-1}"
export OMPI_MCA_mpi_yield_when_idle="${OMPI_MCA_mpi_yield_when_idle:-1}"

# A job that ends early gets SIGTERM after this many seconds and is killed after as many again: time for a last checkpoint,
# and the end of a job that lost a rank within twice that. Open MPI's own value is 1.
export OMPI_MCA_odls_base_sigkill_timeout="${OMPI_MCA_odls_base_sigkill_timeout:-3}"

# A host that no longer answers, because its link is dead or it lost its power, ends the job after about 13 seconds of silence
# (5 + 4 × 2): mpirun has no other way to learn of it, and its own values are 300, 20 and 9. Ranks must be more patient than
# that (train --timeout, 60 by default): once they have given up, mpirun no longer notices dead hosts and waits for ever.
export OMPI_MCA_oob_tcp_keepalive_time="${OMPI_MCA_oob_tcp_keepalive_time:-5}"
export OMPI_MCA_oob_tcp_keepalive_intvl="${OMPI_MCA_oob_tcp_keepalive_intvl:-2}"
export OMPI_MCA_oob_tcp_keepalive_probes="${OMPI_MCA_oob_tcp_keepalive_probes:-4}"

# Where a container forbids ranks to read each other's memory ("Read -1, expected …, errno = 1"):
#   export OMPI_MCA_btl_vader_single_copy_mechanism=none
# Where a host has several networks, name the one to use, the same on all hosts:
#   export OMPI_MCA_btl_tcp_if_include=192.168.1.0/24 OMPI_MCA_oob_tcp_if_include=192.168.1.0/24
# Matrix products with several threads per rank (train --threads 4) need ranks that are not bound to one core:
#   export OMPI_MCA_hwloc_base_binding_policy=none
