/* A thread for what blocks: hashing passwords, reading the whole store. */
#include <pthread.h>
#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"

#define MAX_WAITING 1024

struct etcd_worker {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct list jobs;
	size_t n;
	bool stop, runs;
};

static void job_done(struct loop_msg *m)
{
	struct etcd_job *job = container_of(m, struct etcd_job, msg);

	job->el->n_ops--;
	job->done(job);
}

static void *work(void *arg)
{
	struct etcd_worker *w = arg;
	struct list *l;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		while ((l = list_pop(&w->jobs)) == NULL && !w->stop)
			pthread_cond_wait(&w->wake, &w->lock);
		if (l == NULL)
			break;
		w->n--;
		pthread_mutex_unlock(&w->lock);
		container_of(l, struct etcd_job, link)->run(container_of(l, struct etcd_job, link));
		loop_post(container_of(l, struct etcd_job, link)->el->loop, &container_of(l, struct etcd_job, link)->msg);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

struct etcd_worker *etcd__worker_new(void)
{
	struct etcd_worker *w = xcalloc(1, sizeof(*w));

	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	list_init(&w->jobs);
	return w;
}

void etcd__worker_free(struct etcd_worker *w)
{
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	if (w->runs)
		pthread_join(w->thread, NULL);
	ASSERT(w->n == 0);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

bool etcd__work(struct etcd_worker *w, struct etcd_loop *el, struct etcd_job *job)
{
	bool room;

	job->el = el;
	job->msg.run = job_done;
	pthread_mutex_lock(&w->lock);
	/* The thread is made when it is first needed: most servers never do. */
	if (!w->runs)
		w->runs = pthread_create(&w->thread, NULL, work, w) == 0;
	room = w->runs && w->n < MAX_WAITING;
	if (room) {
		el->n_ops++;
		list_init(&job->link);
		list_add_tail(&w->jobs, &job->link);
		w->n++;
		pthread_cond_signal(&w->wake);
	}
	pthread_mutex_unlock(&w->lock);
	return room;
}
