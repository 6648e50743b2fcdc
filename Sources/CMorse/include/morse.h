/* Morse for programs in C, and in any language that calls C: sums of arrays over the ranks of an MPI job, with compressed
 * messages.
 *
 * Link with -lmorse and the MPI library of the cluster; the library carries its Swift runtime along.
 *
 * Every function with an int32_t status returns MORSE_OK or an error, and then morse_last_error() is one sentence that says what
 * is wrong, where, and what to do. Nothing that is passed ends the process; what is checked is said below. A handle that was
 * released, or that never was one, is an error. After MORSE_ERROR_PEER or MORSE_ERROR_INTERNAL ranks may be out of step: end the
 * job (morse_abort).
 *
 * "Collective" means: all ranks of the world call it, in the same order relative to their other collective calls on the same
 * world or stream. A rank that stays away is named after the world's timeout. A mistake that one rank makes in a collective call
 * is, where possible, reported by all. "Local" means that no messages are sent.
 *
 * Pointers are borrowed for the call, unless said otherwise. Different streams may be used from different threads at the same
 * time, if MPI provides MPI_THREAD_MULTIPLE (morse_thread_level() = 3); one stream is used by one thread at a time. Functions
 * that create, change or release are called by one thread at a time.
 *
 * Structs begin with their size in bytes, to be set by the caller; later versions only add fields at the end. */
#ifndef MORSE_H
#define MORSE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised if a function or a struct changes so that programs must be compiled again. */
#define MORSE_ABI_VERSION 1

/* A group of ranks. */
typedef struct morse_world morse_world;
/* A sequence of sums of arrays of one layout, each with what the codes of the earlier ones could not carry (the residual). */
typedef struct morse_stream morse_stream;

/* Statuses, fit for exit(). */
enum {
  MORSE_OK = 0,
  MORSE_ERROR_USAGE = 64,    /* what was passed is wrong */
  MORSE_ERROR_INTERNAL = 70, /* ranks differ in what they sent, or MPI failed */
  MORSE_ERROR_MEMORY = 74,   /* memory is missing */
  MORSE_ERROR_PEER = 75      /* a rank did not come */
};

/* How an exchange is carried on between morse_stream_begin and morse_stream_finish. */
enum {
  MORSE_OVERLAP_AUTO = 0,   /* a thread if there are several hosts and a core is spare, otherwise off */
  MORSE_OVERLAP_THREAD = 1, /* by a thread of the library; inline if MPI does not provide MPI_THREAD_MULTIPLE */
  MORSE_OVERLAP_INLINE = 2, /* by morse_stream_write */
  MORSE_OVERLAP_OFF = 3     /* not before morse_stream_finish */
};

/* Whether the ranks of a host add their arrays before they encode. */
enum {
  MORSE_TOPOLOGY_AUTO = 0, /* hierarchical if several hosts have several ranks, otherwise flat */
  MORSE_TOPOLOGY_FLAT = 1,
  MORSE_TOPOLOGY_HIERARCHICAL = 2
};

/* What becomes of a group of values that is not finite; its residual stays as it was. */
enum {
  MORSE_NON_FINITE_ZEROS = 0, /* zeros arrive */
  MORSE_NON_FINITE_NAN = 1    /* NaN arrives on all ranks in the same places */
};

/* Which residual. */
enum {
  MORSE_RESIDUAL_OWN = 1,  /* of this rank's contributions: one value for each of the layout */
  MORSE_RESIDUAL_OWNER = 2 /* of the sums that this rank sends back: the values of its owned ranges, one range after another */
};

/* What an exchange by a codec brings. */
enum {
  MORSE_RESULT_SUM = 1,   /* the sum of the arrays of all ranks */
  MORSE_RESULT_CHANGE = 2 /* of sketches and largest values: what to subtract from a model, at the rate 1, with momentum and what
                             earlier exchanges could not carry inside; zero at most places */
};

/* How the values of a tensor travel. */
enum {
  MORSE_TENSOR_CODED = 0, /* encoded */
  MORSE_TENSOR_PLAIN = 1  /* as floats whatever the codec: vectors whose errors weigh more than their bytes */
};

/* What a stream did in an exchange. */
enum {
  MORSE_EVENT_ENCODE = 1,  /* a contribution was encoded and passed on */
  MORSE_EVENT_SEND = 2,    /* a code was handed to MPI, as part of the encoding or of the sum */
  MORSE_EVENT_SUM = 3,     /* contributions were summed by their owner, and the sum was encoded and passed on */
  MORSE_EVENT_DECODE = 4,  /* a sum was decoded, and written to its pieces unless that was done before the delivery */
  MORSE_EVENT_DELIVER = 5, /* a sum that was decoded earlier was written to its pieces */
  MORSE_EVENT_WAIT = 6     /* nothing could be done, and the caller waited */
};

/* A tensor: its name, unique in the stream, its dimensions, the last one varying fastest, and how it travels (MORSE_TENSOR_...).
 * A tensor of two dimensions or more is cut into rows along the first, each a group of its own for a code; one of fewer is a
 * single row. */
typedef struct {
  const char *name;
  const int64_t *shape;
  int32_t dimensions;
  int32_t kind;
} morse_tensor;

/* A run of values of the flat array, and where it lies: values[0 ..< count] are those from offset on. */
typedef struct {
  float *values;
  int64_t offset, count;
} morse_piece;

/* Of a world; the same on all ranks. */
typedef struct {
  uint32_t size;
  uint32_t reserved;
  double timeout;  /* seconds without progress until a wait ends with MORSE_ERROR_PEER; 0: 60 */
  double patience; /* seconds until a wait is reported on standard error; 0: 10, negative: never */
} morse_world_options;

/* Of a stream; the same on all ranks. */
typedef struct {
  uint32_t size;
  int32_t overlap;       /* MORSE_OVERLAP_... */
  int32_t topology;      /* MORSE_TOPOLOGY_... */
  int32_t threads;       /* with which the caller computes on each rank, for MORSE_OVERLAP_AUTO; 0: 1 */
  int32_t is_restorable; /* whether morse_stream_discard is possible, for a copy of the residuals */
  int32_t non_finite;    /* MORSE_NON_FINITE_... */
  uint64_t seed;         /* of codes with random numbers */
  double momentum;       /* of codecs that bring a change: 0 to below 1; 0 for others */
  int32_t records_events; /* whether morse_stream_events tells what was done, and when; may differ between ranks */
  int32_t reserved;
} morse_options;

/* A unit of work of an exchange: values offset ..< offset + count, from start to end in seconds of morse_clock. */
typedef struct {
  int32_t kind;     /* MORSE_EVENT_... */
  int32_t receiver; /* the rank to which bytes were sent; -1 if nothing was sent */
  int64_t offset, count, bytes;
  double start, end;
} morse_event;

/* Of a stream on this rank, since its creation: bytes and messages of finished exchanges, seconds. */
typedef struct {
  uint32_t size;
  uint32_t reserved;
  uint64_t network_sent, network_received; /* bytes between hosts, headers included */
  uint64_t host_sent, host_received;       /* bytes in the memory of the host: sent counts once for each reader */
  uint64_t messages;                       /* sent, and segments made readable */
  uint64_t plain_groups;                   /* groups that were too small for a code and went as floats */
  uint64_t non_finite_groups;              /* groups that were not finite */
  uint64_t exchanges;
  double encode, sum, decode, wait;        /* seconds */
} morse_counters;

/* ---- Errors */

/* MORSE_ABI_VERSION of the library that is loaded. Local. */
uint32_t morse_abi_version(void);
/* The sentence of the last error of this thread, in UTF-8, without a full stop; valid until the thread's next call that fails.
 * Local. */
const char *morse_last_error(void);

/* ---- Worlds */

/* Joins the ranks of an MPI communicator, given by its Fortran handle (MPI_Comm_c2f), or of MPI_COMM_WORLD for -1. Starts MPI if
 * it is not started; without a launcher, the world is this process alone. The library uses a duplicate and leaves the communicator and
 * its error handler as they are. options may be NULL. Collective over the communicator; two small messages to each other rank.
 * MORSE_ERROR_USAGE also if a launcher that MPI does not know started several tasks, each alone in its world. */
int32_t morse_start(int32_t fortran_communicator, const morse_world_options *options, morse_world **world);
/* Ends the use of all worlds and streams, and MPI if the library has started it. Does nothing if it was done before or if nothing
 * was started. Collective over all worlds. */
int32_t morse_finish(void);
/* Ends all ranks of the job at once with status (1 to 255); does not return. Local. */
void morse_abort(int32_t status);
/* The level of threads that MPI provides: 0 single, 1 funneled, 2 serialized, 3 multiple. Local. */
int32_t morse_thread_level(void);

/* This rank's number, the number of ranks, and the same among the ranks that share memory on this host; -1 for what is no world.
 * Local. */
int32_t morse_rank(const morse_world *world);
int32_t morse_size(const morse_world *world);
int32_t morse_host_rank(const morse_world *world);
int32_t morse_host_size(const morse_world *world);
/* The number of hosts. Local. */
int32_t morse_host_count(const morse_world *world);

/* Copies bytes of rank root to all ranks. root and bytes are the same everywhere, which is checked. Collective. */
int32_t morse_broadcast(const morse_world *world, void *values, int64_t bytes, int32_t root);
/* Fails on all ranks if what is passed differs between ranks, and names what ("the order of the tensors") and who. Collective;
 * one message of 16 bytes to each other rank. */
int32_t morse_check_equal(const morse_world *world, const char *what, const void *values, int64_t bytes);
/* Gives the world back; its streams keep what they need. Local. */
int32_t morse_world_release(morse_world *world);

/* ---- Streams */

/* Fails, with a sentence, unless codec is a specification that morse_stream_create takes. Local. */
int32_t morse_check_codec(const char *codec);
/* MORSE_RESULT_...; -1, with a sentence, for what is no specification. Local. */
int32_t morse_codec_result(const char *codec);
/* Makes a stream of sums over the ranks of world: codec is a specification as in `train --codec` ("none", "one-bit",
 * "multi-bit:bits=2,range=2", "fetch-sgd:k=1/100,columns=1/50", "top-k:k=1/100", ...; "lazy" is refused, which follows a model);
 * the tensors, at least one value in all, lie one after another in a flat array in the order in which they are final. options may
 * be NULL. Codec, tensors and options are compared between ranks. Memory: 8 bytes for each value, 4 more if the stream is
 * restorable, and the codes. A codec that brings a change begins with the whole array: it has no overlap, no hierarchy and no
 * discard, treats all tensors alike, and leaves out an exchange in which a value of any rank is not finite. Collective. */
int32_t morse_stream_create(const morse_world *world, const char *codec, const morse_tensor *tensors, int64_t count,
                            const morse_options *options, morse_stream **stream);
/* Changes the codec. What is left in the residuals stays; what owners kept goes to those who own the values from now on, by one
 * sum of floats. While the codec loses nothing ("none"), everything that a rank had left behind waits for the next codec. Between
 * exchanges. Collective. */
int32_t morse_stream_set_codec(morse_stream *stream, const char *codec);
/* Changes the order of the tensors, which are those of the stream, by name, shape and kind. Residuals follow as in
 * morse_stream_set_codec: later sums are the same, bit for bit, as without the change, but for codes with random numbers. Between
 * exchanges. Collective. */
int32_t morse_stream_arrange(morse_stream *stream, const morse_tensor *tensors, int64_t count);

/* Begins an exchange; step is the same on all ranks, not negative, and selects the random numbers of codes that use them.
 * Collective. */
int32_t morse_stream_begin(morse_stream *stream, int64_t step);
/* Copies scale * values to the places from offset on. What has been written without a gap from the start is final and may travel.
 * A value must be written once; places that are not written until morse_stream_finish count as zeros. Local. */
int32_t morse_stream_write(morse_stream *stream, const float *values, int64_t offset, int64_t count, float scale);
/* Waits for the sums and writes them to the pieces, which must not overlap; values in no piece are dropped. Cost of an exchange:
 * each rank sends 2 (K - 1)/K times the encoded size of the array to K - 1 other ranks. Collective. */
int32_t morse_stream_finish(morse_stream *stream, const morse_piece *pieces, int64_t count);
/* Drops the sums and restores the residuals, as if the exchange had never been, if the stream is restorable. Collective. */
int32_t morse_stream_discard(morse_stream *stream);
/* begin, write of all pieces, and finish into the same pieces. Collective. */
int32_t morse_stream_all_reduce(morse_stream *stream, int64_t step, const morse_piece *pieces, int64_t count, float scale);

/* What the stream has sent so far. Sets the fields for which there is room (size). Local. */
int32_t morse_stream_counters(const morse_stream *stream, morse_counters *counters);
/* Seconds since some moment before the first call, on a clock that never goes back. Local. */
double morse_clock(void);
/* Moves the oldest events of the stream to the places given, at most capacity; returns their number, -1 if the stream records none
 * (morse_options.records_events). A stream keeps 1 Mi of them; those that come then are dropped. From any thread, also during an
 * exchange. Local. */
int64_t morse_stream_events(const morse_stream *stream, morse_event *events, int64_t capacity);
/* The bytes that this rank sends in one exchange, computed from the format; an upper bound for codes of varying length. Local. */
int64_t morse_stream_predicted_bytes(const morse_stream *stream);
/* The number of values. Local. */
int64_t morse_stream_count(const morse_stream *stream);

/* Sets *values to a residual in the memory of the stream, in the order of its layout, and *count to its length: 0 with one rank,
 * and, of owners, for codecs that lose nothing. It may be read and written between exchanges, until the codec or the order
 * changes or the stream is released. Local. */
int32_t morse_stream_residual(morse_stream *stream, int32_t kind, float **values, int64_t *count);
/* The number of ranges of values that this rank owns; their starts and ends, in order, go to bounds, as far as there is room for
 * capacity numbers. -1 for what is no stream. Local. */
int64_t morse_stream_owned_ranges(const morse_stream *stream, int64_t *bounds, int64_t capacity);
/* The number of parts of the memory of a codec that has no residuals but keeps something else (sketches of owners, what a rank has not
 * sent); 0 for others, -1 for what is no stream. Local. */
int64_t morse_stream_memory_parts(const morse_stream *stream);
/* Sets *values to a part of that memory, from 0, and *count to its length. It may be read and written between exchanges. It fits a
 * stream of the same codec, tensors, number of ranks and rank. Local. */
int32_t morse_stream_memory(const morse_stream *stream, int64_t part, float **values, int64_t *count);
/* The numbers beside that memory, as text in lines of name=value; valid until the next call for this stream. NULL for what is no stream.
 * Local. */
const char *morse_stream_numbers(morse_stream *stream);
/* Goes on from a memory that was written into a new stream, and its numbers. Collective. */
int32_t morse_stream_restore(morse_stream *stream, const char *numbers);
/* Ends the stream; an exchange under way is given up. Memory that the ranks of a host share is freed by morse_finish. Local. */
int32_t morse_stream_release(morse_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
