#include "store/store-priv.h"
void store__publish(struct store *s)
{
	store__events_drop(s);
}
void store__publish_reset(struct store *s)
{
}
