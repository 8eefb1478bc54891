// SPDX-License-Identifier: GPL-2.0

#include <linux/cpuhotplug.h>

#include "helpers.h"

/* Returns the number of the state, or an error. */
int rust_helper_cpuhp_setup_multi_state(const char *name, rust_cpu_came_t came)
{
	return cpuhp_setup_state_multi(CPUHP_AP_ONLINE_DYN, name, came, NULL);
}

void rust_helper_cpuhp_remove_multi_state(int state)
{
	cpuhp_remove_multi_state(state);
}

int rust_helper_cpuhp_state_add_instance(int state, struct hlist_node *node)
{
	return cpuhp_state_add_instance_nocalls(state, node);
}

void rust_helper_cpuhp_state_remove_instance(int state, struct hlist_node *node)
{
	cpuhp_state_remove_instance_nocalls(state, node);
}
