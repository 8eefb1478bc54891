// SPDX-License-Identifier: GPL-2.0

#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <net/page_pool/helpers.h>

#include "helpers.h"

/*
 * Takes a piece of `size` bytes, or more: says how many, where it is, and in which page. It is not
 * in high memory.
 */
void *rust_helper_page_pool_alloc(struct page_pool *pool, gfp_t gfp, struct page **page,
				  unsigned int *offset, unsigned int *size)
{
	*page = page_pool_alloc(pool, offset, size, gfp);
	if (unlikely(!*page))
		return NULL;

	return page_address(*page) + *offset;
}

/* If there is a device, the memory is mapped for it to write. */
struct page_pool *rust_helper_page_pool_create(unsigned int order, unsigned int pages, int node,
					       struct device *dev)
{
	struct page_pool_params params = {
		.order = order,
		.pool_size = pages,
		.nid = node,
		.dev = dev,
		.dma_dir = DMA_FROM_DEVICE,
		.max_len = PAGE_SIZE << order,
		.flags = dev ? PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV : 0,
	};

	return page_pool_create(&params);
}

void rust_helper_page_pool_get(struct page_pool *pool)
{
	page_pool_get(pool);
}

/* Says how many pages a pool has, wherever they are. */
unsigned int rust_helper_page_pool_held(const struct page_pool *pool)
{
	return READ_ONCE(pool->pages_state_hold_cnt) -
		atomic_read(&pool->pages_state_release_cnt);
}

void rust_helper_page_pool_put(struct page_pool *pool, struct page *page, bool direct)
{
	page_pool_put_full_page(pool, page, direct);
}

void rust_helper_page_pool_sync_for_cpu(const struct page_pool *pool, const struct page *page,
					u32 offset, u32 len)
{
	page_pool_dma_sync_for_cpu(pool, page, offset, len);
}

/* Fills an entry with a part of a pool's page, which is mapped if `mapped` says so. */
void rust_helper_sg_set_pool_page(struct scatterlist *sg, struct page *page, unsigned int offset,
				  unsigned int len, bool mapped)
{
	sg_set_page(sg, page, len, offset);
	if (mapped) {
		sg_dma_address(sg) = page_pool_get_dma_addr(page) + offset;
		sg_dma_len(sg) = len;
	}
}
