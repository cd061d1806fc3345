/* LD_PRELOAD shim for Debian's amuled 2.3.3; only for tests. MIT licence, as the rest of this repository; it holds no code of aMule.
 *
 * aMule 2.3.3 runs Boost.Asio with four threads. A wake-up that another thread has already served is then taken for a lost
 * connection (FIONREAD says 0), and that socket is never read again; aMule 3.0 fixes it. With one Asio thread it cannot happen, so
 * this parks every CAsioServiceThread but the first until the first has ended. It touches nothing of the protocol.
 *
 * gcc -O2 -shared -fPIC -o shim.so ed2k-onethread-shim.c -ldl -lpthread
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
struct job { void *(*fn)(void *); void *arg; int first; };
static pthread_mutex_t mx = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cv = PTHREAD_COND_INITIALIZER;
static int seen, ended;
static void over(void *p) { (void)p; pthread_mutex_lock(&mx); ended = 1; pthread_cond_broadcast(&cv); pthread_mutex_unlock(&mx); }
static void *tramp(void *p) {
  struct job j = *(struct job *)p; void *r; free(p);
  if (j.first) { pthread_cleanup_push(over, 0); r = j.fn(j.arg); pthread_cleanup_pop(1); return r; }
  pthread_mutex_lock(&mx); while (!ended) pthread_cond_wait(&cv, &mx); pthread_mutex_unlock(&mx);
  return j.fn(j.arg);
}
static const char *rtti(void *o) { void **vt = o ? *(void ***)o : 0; return vt && vt[-1] ? ((const char **)vt[-1])[1] : ""; }
int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg) {
  static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  if (!real) real = (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))dlsym(RTLD_NEXT, "pthread_create");
  Dl_info i;
  /* only wxThread::Create passes a wxThread object; its start routine lives in libwx_base */
  if (dladdr((void *)fn, &i) && i.dli_fname && strstr(i.dli_fname, "libwx_base") && strstr(rtti(arg), "AsioServiceThread")) {
    struct job *j = malloc(sizeof *j); j->fn = fn; j->arg = arg; pthread_mutex_lock(&mx); j->first = !seen++; pthread_mutex_unlock(&mx);
    if (getenv("SHIM_DEBUG")) fprintf(stderr, "shim: asio thread %d%s\n", seen, j->first ? "" : " parked");
    return real(t, a, tramp, j);
  }
  if (getenv("SHIM_DEBUG")) fprintf(stderr, "shim: thread in %s\n", i.dli_fname ? i.dli_fname : "?");
  return real(t, a, fn, arg);
}
