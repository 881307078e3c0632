// Long lists: only the rows in view and a few around them are in the document.
import { useSignal } from '@preact/signals'
import { useLayoutEffect, useRef } from 'preact/hooks'

const SPARE = 8 // rows kept above and below the view

// For `count` rows of `size` px in a scrolling box whose head takes one row: {box, onScroll, first, last, page, reveal(index)}.
export function useWindow(count, size) {
  const box = useRef()
  const top = useSignal(0)
  const height = useSignal(600)
  useLayoutEffect(() => {
    const watch = new ResizeObserver(() => (height.value = box.current.clientHeight))
    watch.observe(box.current)
    return () => watch.disconnect()
  }, [])
  const first = Math.max(0, Math.floor(top.value / size) - SPARE)
  const last = Math.min(count, Math.ceil((top.value + height.value) / size) + SPARE)
  const reveal = (index) => {
    const edge = index * size
    if (edge < box.current.scrollTop) box.current.scrollTop = edge
    else if (edge + size * 2 > box.current.scrollTop + height.value) box.current.scrollTop = edge + size * 2 - height.value
  }
  const page = Math.max(1, Math.floor(height.value / size) - 2)
  return { box, onScroll: () => (top.value = box.current.scrollTop), first, last, page, reveal }
}
