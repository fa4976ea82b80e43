package feed

// NoSync has a publisher not wait for the disk: what readers see is the same, what is left after a power cut is not.
func (p *Publisher) NoSync() { p.dir.noSync = true }
