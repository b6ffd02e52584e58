#include "orchestrator/apiserver/flow_limits.h"

#include <limits.h>
#include <stdint.h>

#include "base/util.h"

void flow_bounds(unsigned total, const struct flow_share *s, size_t n, struct flow_bounds *ret)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += s[i].shares;
	for (size_t i = 0; i < n; i++) {
		uint64_t nominal = sum ? ((uint64_t)total * s[i].shares + sum - 1) / sum : 0;
		uint64_t lent = (nominal * s[i].lendable_percent + 50) / 100;
		uint64_t borrowed = s[i].borrowing_percent < 0 ? UINT_MAX : (nominal * (unsigned)s[i].borrowing_percent + 50) / 100;

		ret[i].nominal = (unsigned)MIN(nominal, (uint64_t)INT_MAX);
		ret[i].lower = (unsigned)MIN(nominal - MIN(lent, nominal), (uint64_t)INT_MAX);
		ret[i].upper = (unsigned)MIN(nominal + borrowed, (uint64_t)INT_MAX);
	}
}

/*
 * Give `amount` to those with room, in proportion to their weights; returns what is left. Each round gives at least one seat, or there is
 * no room; what rounding leaves goes to the first.
 */
static unsigned fill(unsigned amount, const unsigned *room, const unsigned *weight, size_t n, unsigned *io)
{
	unsigned given[FLOW_MAX_PARTS] = {0};

	while (amount > 0) {
		uint64_t sum = 0;
		unsigned before = amount;

		for (size_t i = 0; i < n; i++)
			sum += room[i] > given[i] ? MAX(weight[i], 1u) : 0;
		if (sum == 0)
			break;
		for (size_t i = 0; i < n && amount > 0; i++) {
			uint64_t part = (uint64_t)before * MAX(weight[i], 1u) / sum;
			unsigned take = (unsigned)MIN(MIN(part, (uint64_t)(room[i] - given[i])), (uint64_t)amount);

			given[i] += take;
			amount -= take;
		}
		for (size_t i = 0; i < n && amount == before; i++)
			if (room[i] > given[i]) {
				given[i]++;
				amount--;
			}
	}
	for (size_t i = 0; i < n; i++)
		io[i] += given[i];
	return amount;
}

void flow_divide(const struct flow_bounds *b, const unsigned *demand, size_t n, unsigned *ret)
{
	unsigned room[FLOW_MAX_PARTS], weight[FLOW_MAX_PARTS];
	uint64_t total = 0, used = 0;
	unsigned left;

	ASSERT(n > 0 && n <= FLOW_MAX_PARTS);
	for (size_t i = 0; i < n; i++) {
		ret[i] = MAX(b[i].lower, MIN(demand[i], b[i].nominal));
		total += b[i].nominal;
		used += ret[i];
		weight[i] = b[i].nominal;
	}
	left = (unsigned)MIN(total - used, (uint64_t)UINT_MAX);
	for (size_t i = 0; i < n; i++) {
		unsigned want = MIN(demand[i], b[i].upper);

		room[i] = want > ret[i] ? want - ret[i] : 0;
	}
	left = fill(left, room, weight, n, ret);
	for (size_t i = 0; i < n; i++)
		room[i] = b[i].nominal > ret[i] ? b[i].nominal - ret[i] : 0;
	fill(left, room, weight, n, ret);
}

void flow_split(unsigned limit, const unsigned *demand, size_t n, unsigned *ret)
{
	unsigned room[FLOW_MAX_PARTS], weight[FLOW_MAX_PARTS];
	unsigned fair = MAX(limit / (unsigned)n, 1u), left;

	ASSERT(n > 0 && n <= FLOW_MAX_PARTS);
	limit = MAX(limit, (unsigned)n);
	left = limit;
	for (size_t i = 0; i < n; i++) {
		ret[i] = demand ? MAX(MIN(demand[i], fair), 1u) : fair;
		left -= ret[i];
		room[i] = demand && demand[i] > ret[i] ? demand[i] - ret[i] : 0;
		weight[i] = 1;
	}
	left = fill(left, room, weight, n, ret);
	for (size_t i = 0; i < n; i++)
		room[i] = left;
	fill(left, room, weight, n, ret);
}
